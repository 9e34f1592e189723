"""Removes what was found of a person, from the database in one transaction and from Redis by scripts."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from schema.counts import removal, totals
from schema.counts.by_source import CountedLead
from schema.database import first_leads
from schema.database.tables import dropped_leads, erased_leads, idempotency_keys, leads
from schema.lead.lead_id import LeadId
from schema.person.places import OVERWRITTEN, Found, Key
from schema.queue import keys, request_pages
from schema.queue.script import Script
from schema.runtime.redis_clients import ShardClient
from schema.settings.shards import Shard

_HERE = Path(__file__).parent
REMOVE_ENTRY = Script(
    _HERE / "remove_entry.lua",
    keys={"STREAM": keys.STREAM, "DEAD": keys.DEAD, "INDEX": keys.INDEX},
    arguments=("group", "entry", "lead", "is_dead"),
    constants={"DEAD_PREFIX": keys.DEAD_PREFIX},
)
REPLACE_PAGE = Script(
    _HERE / "replace_page.lua",
    keys={
        "REQUESTS": keys.REQUESTS,
        "REQUESTS_HELD": keys.REQUESTS_HELD,
        "REQUEST_ERRORS": keys.REQUEST_ERRORS,
        "REQUEST_ERRORS_HELD": keys.REQUEST_ERRORS_HELD,
    },
    arguments=("old", "new", "fewer", "is_errors"),
)

UNFINISHED = "an upgrade is not finished: run python -m schema migrate once its last old process has ended"

# Keys that one SCAN looks at, more or less.
SCAN_COUNT = 10_000

# Most ids in one IN.
IDS_AT_ONCE = 1_000

# Longest wait (seconds) for the retention to finish a month, and the pause between two looks.
RETENTION_TIMEOUT = 60.0
RETENTION_PAUSE = 1.0


class NotNow(Exception):
    """Nothing can be erased at the moment; the message is one line that says why."""


def remove_rows(connection: Connection, found: Found) -> int:
    """Note the leads as erased, and delete their rows, counts and keys, in one transaction; return how many rows.

    Committed on return. All workers wait meanwhile; one that stores the same leads either has committed their rows
    before, which are deleted here, or sees afterwards that they are erased. Raises NotNow and SQLAlchemyError.
    """
    deadline = time.monotonic() + RETENTION_TIMEOUT
    while True:
        with connection.begin():
            if totals.is_upgrading(connection):
                raise NotNow(UNFINISHED)
            removal.lock(connection, found.leads)
            if not totals.version(connection).retention_cutoff:
                return _remove_rows(connection, found)
        if time.monotonic() > deadline:
            raise NotNow("the retention is removing a month: try again when it is over")
        time.sleep(RETENTION_PAUSE)


def _remove_rows(connection: Connection, found: Found) -> int:
    ids = sorted(found.leads)
    _note_erased(connection, ids)
    there: list[CountedLead] = []
    for few in _in_parts(ids):
        rows = connection.execute(select(leads.c.id, leads.c.source, leads.c.is_duplicate).where(leads.c.id.in_(few)))
        there.extend(CountedLead(bytes(row.id), row.source, row.is_duplicate) for row in rows)
    for few in _in_parts(sorted(each.id for each in there)):
        connection.execute(delete(leads).where(leads.c.id.in_(few)))
    removal.subtract_erased(connection, there)
    first_leads.remove(connection, found.contacts, found.leads)
    for key in found.keys:
        if key.shard is None:
            _remove_key(connection, key)
    return len(there)


def note_erased(connection: Connection, ids: Collection[LeadId]) -> None:
    """Record in the open transaction that leads were erased. Idempotent."""
    known = _existing(connection, erased_leads.c.lead_id, ids)
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [{"lead_id": each, "erased_at": now} for each in sorted(set(ids) - known)]
    if rows:
        connection.execute(insert(erased_leads), rows)


def _note_erased(connection: Connection, ids: Collection[LeadId]) -> None:
    note_erased(connection, ids)
    # A letter whose drop was interrupted is in one place of the ledger alone.
    for few in _in_parts(list(ids)):
        connection.execute(delete(dropped_leads).where(dropped_leads.c.lead_id.in_(few)))


def erased_between(connection: Connection, first: LeadId, last: LeadId) -> set[LeadId]:
    """Return the erased leads from `first` to `last`, both included."""
    found = select(erased_leads.c.lead_id).where(erased_leads.c.lead_id.between(first, last))
    return {bytes(each) for each in connection.execute(found).scalars()}


def _existing(connection: Connection, column: Any, ids: Collection[LeadId]) -> set[LeadId]:
    found: set[LeadId] = set()
    for few in _in_parts(sorted(ids)):
        found.update(map(bytes, connection.execute(select(column).where(column.in_(few))).scalars()))
    return found


def _remove_key(connection: Connection, key: Key) -> None:
    table = idempotency_keys
    here = table.c.key == key.remembered.key
    if key.is_alone:
        connection.execute(delete(table).where(here))
    else:
        connection.execute(update(table).where(here).values(digest=OVERWRITTEN))


def _in_parts(ids: list[LeadId]) -> list[list[LeadId]]:
    return [ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)]


class QueueRemoval:
    """Removes from Redis. Every method raises RedisError."""

    def __init__(self, shards: Sequence[ShardClient]) -> None:
        # redis-py's types do not say whether text or bytes are returned.
        self._clients: dict[Shard, Any] = dict(shards)
        self._remove_entry = {shard: REMOVE_ENTRY.register(client, shard) for shard, client in shards}
        self._replace_page = {shard: REPLACE_PAGE.register(client, shard) for shard, client in shards}

    def remove_traces(self, found: Found) -> None:
        """Remove first leads, idempotency keys and requests: what can only be found while the leads are known."""
        self.forget_contacts(found.contacts, found.leads)
        for key in found.keys:
            if key.shard and key.is_alone:
                self._clients[key.shard].delete(key.name)
            elif key.shard:
                # The other leads of the bulk keep their ids, and whoever sends it again gets 409.
                self._clients[key.shard].set(key.name, key.remembered.lead + OVERWRITTEN, xx=True, keepttl=True)
        for page in found.pages:
            left = request_pages.without(page.content, page.records)
            fewer = len(request_pages.records_of(page.content)) - (len(request_pages.records_of(left)) if left else 0)
            self._replace_page[page.shard](old=page.content, new=left, fewer=fewer, is_errors=int(page.is_errors))

    def forget_contacts(self, contacts: Collection[bytes], leads: Collection[LeadId] | None = None) -> None:
        """Forget contacts where one of `leads` was the first, by default whoever was."""
        for shard, client in self._clients.items():
            prefix = shard.name(keys.FIRST_LEADS_PREFIX)
            names = client.scan_iter(match=f"{prefix}*:*:*", count=SCAN_COUNT)
            periods = {each.decode().removeprefix(prefix).rpartition(":")[0] for each in names}
            for contact in contacts:
                for period in periods:
                    name, field = shard.name(keys.first_leads_name(contact, period)), contact[2:]
                    first = client.hget(name, field)
                    if first is not None and (leads is None or first in leads):
                        client.hdel(name, field)

    def remove_entries(self, found: Found) -> int:
        """Remove entries and dead letters; return how many. Call it after `remove_rows`."""
        return sum(
            int(
                self._remove_entry[each.shard](
                    group=keys.GROUP, entry=each.name, lead=each.lead or b"", is_dead=int(each.is_dead)
                )
            )
            for each in found.waiting
        )
