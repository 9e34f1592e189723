"""Finds what is kept of a person: rows, entries of the queue, dead letters, requests, idempotency keys."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis
from sqlalchemy import Connection, Row, func, or_, select

from schema.database.idempotency import Remembered
from schema.database.tables import idempotency_keys, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.person.identity import Person, strings_in
from schema.queue import entries, keys, request_pages

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


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key that one of the person's leads came with."""

    remembered: Remembered
    in_redis: bool
    is_alone: bool  # False: of a bulk request, whose other leads may be those of others

    @property
    def name(self) -> str:
        """The key's name in Redis."""
        return keys.IDEMPOTENCY_PREFIX + self.remembered.key.hex()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the request log with records that name the person."""

    content: bytes
    records: list[list[Any]]
    is_errors: bool


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
    def leads(self) -> set[LeadId]:
        """The ids of the person's leads."""
        return {bytes(row.id) for row in self.rows} | {each.lead for each in self.waiting if each.lead}


def search(
    connection: Connection, client: redis.Redis, person: Person, known: Collection[LeadId] = (), *, log: bool = True
) -> Found:
    """Search all places for a person, and for the leads in `known`, which were theirs.

    Reads the whole queue, the request log unless `log` is False, and on a large table for minutes. Raises RedisError
    and SQLAlchemyError.
    """
    # The queue before the table: a lead goes from the one to the other.
    found = Found(waiting=[*_waiting(client, person, keys.STREAM), *_waiting(client, person, keys.DEAD)])
    found.rows = _rows(connection, person)
    ids = found.leads.union(known)
    if ids:
        found.keys = [*_keys_in_redis(client, ids), *_keys_in_database(connection, ids)]
    if log:
        found.pages = [page for is_errors in (False, True) for page in _pages(client, person, ids, is_errors)]
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


def _waiting(client: Any, person: Person, stream: str) -> Iterator[Waiting]:
    start = "-"
    while page := client.xrange(stream, start, "+", count=ENTRIES_AT_ONCE):
        for name, fields in page:
            payload = fields.get(entries.LEAD_FIELD, b"")
            if person.owns(payload):
                yield Waiting(name.decode(), entries.id_of(payload), payload, stream == keys.DEAD)
        start = f"({page[-1][0].decode()}"


def _keys_in_redis(client: Any, ids: Collection[LeadId]) -> Iterator[Key]:
    names: list[bytes] = []
    for name in client.scan_iter(match=f"{keys.IDEMPOTENCY_PREFIX}*", count=KEYS_AT_ONCE):
        names.append(name)
        if len(names) >= KEYS_AT_ONCE:
            yield from _values_of(client, names, ids)
            names = []
    if names:
        yield from _values_of(client, names, ids)


def _values_of(client: Any, names: list[bytes], ids: Collection[LeadId]) -> Iterator[Key]:
    for name, value in zip(names, client.mget(names), strict=True):
        try:
            key = bytes.fromhex(name.decode().removeprefix(keys.IDEMPOTENCY_PREFIX))
        except ValueError:
            continue
        if value:
            yield from _key_of(Remembered(key, value[16:], value[:16]), ids, in_redis=True)


def _keys_in_database(connection: Connection, ids: Collection[LeadId]) -> Iterator[Key]:
    table = idempotency_keys
    seen: set[bytes] = set()
    for moment in {lead_id.time_of(each).replace(tzinfo=None) for each in ids}:
        near = table.c.created_at.between(moment - BATCH_SPAN, moment + BATCH_SPAN)
        for row in connection.execute(select(table).where(near)).all():
            remembered = Remembered(bytes(row.key), bytes(row.digest), bytes(row.lead_id))
            if remembered.key not in seen:
                seen.add(remembered.key)
                yield from _key_of(remembered, ids, in_redis=False)


def _key_of(remembered: Remembered, ids: Collection[LeadId], *, in_redis: bool) -> Iterator[Key]:
    """Yield the key if one of the leads came with it."""
    if remembered.digest == OVERWRITTEN:
        return
    span = int(BATCH_SPAN.total_seconds() * 1_000_000)
    for each in ids:
        if abs(lead_id.micros_of(each) - lead_id.micros_of(remembered.lead)) > span:
            continue
        is_bulk = lead_id.is_of_batch(each, remembered.lead, remembered.key)
        if is_bulk or each == remembered.lead:
            yield Key(remembered, in_redis, is_alone=not is_bulk)
            return


def _pages(client: Any, person: Person, ids: Collection[LeadId], is_errors: bool) -> Iterator[Page]:
    texts = {lead_id.to_text(each) for each in ids}
    name, end = keys.REQUEST_ERRORS if is_errors else keys.REQUESTS, -1
    # From the newest on: new pages push those that were not read yet to where they are read again, not past.
    while pages := client.lrange(name, end - PAGES_AT_ONCE + 1, end):
        for content in pages:
            records = [each for each in request_pages.records_of(content) if _names(each, person, texts)]
            if records:
                yield Page(content, records, is_errors)
        end -= PAGES_AT_ONCE


def _names(record: list[Any], person: Person, ids: set[str]) -> bool:
    strings = list(strings_in(record))
    return person.is_named_in(strings) or any(each in text for each in ids for text in strings)
