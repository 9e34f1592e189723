"""Finds what is kept of a person: rows, entries of the queue, dead letters, requests, idempotency keys."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from schema.database.idempotency import Remembered
from schema.database.tables import idempotency_keys, leads
from schema.lead import lead_id
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId
from schema.person.identity import Person, strings_in
from schema.queue import entries, keys, request_pages
from schema.runtime.redis_clients import ShardClient
from schema.settings.shards import WHOLE, Shard

# Entries, keys or pages read with one command.
ENTRIES_AT_ONCE = 1_000
KEYS_AT_ONCE = 1_000
PAGES_AT_ONCE = 8

# Longest span of the ids of one bulk request: an index of 16 bits, a microsecond each.
BATCH_SPAN = timedelta(microseconds=1 << 16)

# In place of the digest of a bulk request that held a lead of an erased person.
OVERWRITTEN = bytes(entries.DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry of the queue or a dead letter."""

    name: str
    lead: LeadId | None
    payload: bytes
    is_dead: bool
    shard: Shard = WHOLE


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key that one of the person's leads came with."""

    remembered: Remembered
    shard: Shard | None  # of Redis; None: the key is in the database
    is_alone: bool  # False: of a bulk request, whose other leads may be those of others

    @property
    def name(self) -> str:
        """The key's name in Redis."""
        return (self.shard or WHOLE).name(keys.IDEMPOTENCY_PREFIX + self.remembered.key.hex())


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the request log, in a queue's first shard, with records that name the person."""

    content: bytes
    records: list[list[Any]]
    is_errors: bool
    shard: Shard


@dataclass(slots=True)
class Found:
    """All that was found of a person."""

    rows: list[Row[Any]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.waiting or self.keys or self.pages)

    @property
    def contacts(self) -> set[bytes]:
        """The hashes of the addresses and numbers of the person's leads (schema.lead.contacts)."""
        leads = [(row.email, row.phone) for row in self.rows]
        leads += [found for each in self.waiting if (found := entries.email_and_phone_of(each.payload)) is not None]
        return {contact for email, phone in leads for contact in contacts_of(email, phone)}

    @property
    def leads(self) -> set[LeadId]:
        """The ids of the person's leads."""
        return {bytes(row.id) for row in self.rows} | {each.lead for each in self.waiting if each.lead}


def search(
    connection: Connection,
    shards: Sequence[ShardClient],
    person: Person,
    known: Collection[LeadId] = (),
    *,
    log: bool = True,
) -> Found:
    """Search all places for a person, and for the leads in `known`, which were theirs.

    Reads the whole queue, the request log unless `log` is False, and on a large table for minutes. Raises RedisError
    and SQLAlchemyError.
    """
    # The queue before the table: a lead goes from the one to the other.
    places = [(each, key) for each in shards for key in (keys.STREAM, keys.DEAD)]
    found = Found(waiting=[entry for each, key in places for entry in _waiting(each, person, key)])
    found.rows = _rows(connection, person)
    ids = found.leads.union(known)
    if ids:
        found.keys = [key for each in shards for key in _keys_in_redis(each, ids)]
        found.keys += _keys_in_database(connection, ids)
    if log:
        first = [each for each in shards if each.shard.number == 0]
        found.pages = [page for each in first for wrong in (False, True) for page in _pages(each, person, ids, wrong)]
    return found


def _rows(connection: Connection, person: Person) -> list[Row[Any]]:
    wanted = []
    if person.email:
        # Letters beyond ASCII match any: SQLite knows upper and lower case of ASCII alone.
        wild = "".join(f"!{each}" if each in "!%_" else each if each.isascii() else "_" for each in person.email)
        wanted.append(select(leads.c.id, leads.c.email, leads.c.phone).where(_lower_email().like(wild, escape="!")))
    if person.phone:
        columns = select(leads.c.id, leads.c.email, leads.c.phone)
        wanted.append(columns.where(or_(*(leads.c.phone == each for each in person.stored_phones))))
    ids = {
        bytes(row.id)
        for statement in wanted
        for row in connection.execute(statement)
        if person.has(row.email, row.phone)
    }
    ordered = sorted(ids)
    rows: list[Row[Any]] = []
    for start in range(0, len(ordered), ENTRIES_AT_ONCE):
        few = ordered[start : start + ENTRIES_AT_ONCE]
        rows += connection.execute(select(leads).where(leads.c.id.in_(few)).order_by(leads.c.id)).all()
    return rows


def _lower_email() -> Any:
    return func.lower(leads.c.email)


# redis-py's types do not say whether text or bytes are returned.


def _waiting(place: ShardClient, person: Person, stream: str) -> Iterator[Waiting]:
    start = "-"
    client: Any = place.client
    while page := client.xrange(place.shard.name(stream), start, "+", count=ENTRIES_AT_ONCE):
        for name, fields in page:
            payload = fields.get(entries.LEAD_FIELD, b"")
            if person.owns(payload):
                yield Waiting(name.decode(), entries.id_of(payload), payload, stream == keys.DEAD, place.shard)
        start = f"({page[-1][0].decode()}"


def _keys_in_redis(place: ShardClient, ids: Collection[LeadId]) -> Iterator[Key]:
    names: list[bytes] = []
    prefix = place.shard.name(keys.IDEMPOTENCY_PREFIX)
    for name in place.client.scan_iter(match=f"{prefix}*", count=KEYS_AT_ONCE):
        names.append(name)
        if len(names) >= KEYS_AT_ONCE:
            yield from _values_of(place, names, ids)
            names = []
    if names:
        yield from _values_of(place, names, ids)


def _values_of(place: ShardClient, names: list[bytes], ids: Collection[LeadId]) -> Iterator[Key]:
    client: Any = place.client
    prefix = place.shard.name(keys.IDEMPOTENCY_PREFIX)
    for name, value in zip(names, client.mget(names), strict=True):
        try:
            key = bytes.fromhex(name.decode().removeprefix(prefix))
        except ValueError:
            continue
        if value:
            yield from _key_of(Remembered(key, value[16 : 16 + entries.DIGEST_SIZE], value[:16]), ids, place.shard)


def _keys_in_database(connection: Connection, ids: Collection[LeadId]) -> Iterator[Key]:
    table = idempotency_keys
    seen: set[bytes] = set()
    for moment in {lead_id.time_of(each).replace(tzinfo=None) for each in ids}:
        near = table.c.created_at.between(moment - BATCH_SPAN, moment + BATCH_SPAN)
        for row in connection.execute(select(table).where(near)).all():
            remembered = Remembered(bytes(row.key), bytes(row.digest), bytes(row.lead_id))
            if remembered.key not in seen:
                seen.add(remembered.key)
                yield from _key_of(remembered, ids, None)


def _key_of(remembered: Remembered, ids: Collection[LeadId], shard: Shard | None) -> Iterator[Key]:
    """Yield the key if one of the leads came with it."""
    if remembered.digest == OVERWRITTEN:
        return
    span = int(BATCH_SPAN.total_seconds() * 1_000_000)
    for each in ids:
        if abs(lead_id.micros_of(each) - lead_id.micros_of(remembered.lead)) > span:
            continue
        is_bulk = lead_id.is_of_batch(each, remembered.lead, remembered.key)
        if is_bulk or each == remembered.lead:
            yield Key(remembered, shard, is_alone=not is_bulk)
            return


def _pages(place: ShardClient, person: Person, ids: Collection[LeadId], is_errors: bool) -> Iterator[Page]:
    texts = {lead_id.to_text(each) for each in ids}
    client: Any = place.client
    name, end = place.shard.name(keys.REQUEST_ERRORS if is_errors else keys.REQUESTS), -1
    # From the newest on: new pages push those that were not read yet to where they are read again, not past.
    while pages := client.lrange(name, end - PAGES_AT_ONCE + 1, end):
        for content in pages:
            records = [each for each in request_pages.records_of(content) if _names(each, person, texts)]
            if records:
                yield Page(content, records, is_errors, place.shard)
        end -= PAGES_AT_ONCE


def _names(record: list[Any], person: Person, ids: set[str]) -> bool:
    strings = list(strings_in(record))
    return person.is_named_in(strings) or any(each in text for each in ids for text in strings)
