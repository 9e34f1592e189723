"""Reads stored leads in the order of storing, a bounded step at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, select, union_all

from ingest_api.http.envelope import unavailable
from ingest_api.reads.changes_cursor import ChangesCursor
from ingest_api.reads.serialize import lead_to_json
from schema.counts import totals
from schema.database import stored_positions
from schema.database.tables import leads
from schema.lead.lead_id import LeadId

# Leads of all sources that are looked at in one step for those of one source.
SOURCE_STEP = 1_000

# Bytes of leads at which an answer ends, whatever its limit: leads may have 16 KiB of additionalData.
ANSWER_BYTES = 2 * 1024 * 1024

# Rows read with one statement. From 1,000 ids on MariaDB makes a subquery of an IN
# (in_predicate_conversion_threshold), and scans.
ROWS_OF_AN_IN = 200

# Retry-After, seconds, while processes of an earlier release may store.
RETRY_UPGRADE = 15

_INDEX = "FORCE INDEX (leads_stored)"


@dataclass(frozen=True, slots=True)
class Step:
    """The next leads as JSON, in order, and the cursor behind them and behind those that a filter left out."""

    leads: Sequence[bytes]
    cursor: ChangesCursor
    is_last: bool  # nothing more was stored by then


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a lead stands in the order of storing; without a slot it is one of the history."""

    id: LeadId
    slot: int | None
    position: int


def step(connection: Connection, cursor: ChangesCursor, limit: int, source: str | None) -> Step:
    """Return at most `limit` leads behind `cursor`, of one `source` or, with None, of all.

    The connection must be in a snapshot: a slot's rows are visible up to its last position, or not yet. Raises the 503.
    """
    last = _last_positions(connection)
    ahead = cursor.ahead(last)
    most = limit if source is None else max(limit, SOURCE_STEP)
    places = _history(connection, cursor, most)
    places += _behind(connection, ahead, most - len(places))
    found: list[bytes] = []
    history, positions = cursor.history, dict(cursor.positions)
    size, is_last = 0, len(places) < most
    for place, row in _with_rows(connection, places, source):
        if len(found) == limit or size >= ANSWER_BYTES:
            is_last = False
            break
        if row is not None:
            found.append(orjson.dumps(lead_to_json(row)))
            size += len(found[-1])
        if place.slot is None:
            history = place.id
        else:
            positions[place.slot] = place.position
    if is_last:
        # Positions without a row at the end, as those of rejected leads, would else look like something new for ever.
        positions.update((slot, last[slot]) for slot in ahead)
    return Step(found, ChangesCursor(history, positions), is_last)


def latest(connection: Connection) -> ChangesCursor:
    """Return the cursor behind all that is stored. Call it in a snapshot. Raises the 503."""
    positions = _last_positions(connection)
    newest = connection.execute(_in_history(leads.c.id.desc()).limit(1)).scalar()
    cursor = ChangesCursor(positions=positions)
    return cursor if newest is None else replace(cursor, history=bytes(newest))


def _last_positions(connection: Connection) -> dict[int, int]:
    if totals.is_upgrading(connection):
        # Workers of release 0.1 store leads without a position, which a reader that has passed them would never see.
        raise unavailable(
            "An upgrade is not finished: what is new is read again once it is.", "upgrade_unfinished", RETRY_UPGRADE
        )
    return stored_positions.read(connection)


def _in_history(order: Any) -> Select[Any]:
    """Select the ids of leads that were stored before there were positions."""
    before = leads.c.stored_slot.is_(None), leads.c.stored_position.is_(None)
    return select(leads.c.id).where(*before).order_by(order).with_hint(leads, _INDEX, "mysql")


def _history(connection: Connection, cursor: ChangesCursor, number: int) -> list[_Place]:
    found = connection.execute(_in_history(leads.c.id).where(leads.c.id > cursor.history).limit(number)).scalars()
    return [_Place(bytes(each), None, 0) for each in found]


def _behind(connection: Connection, ahead: dict[int, int], number: int) -> list[_Place]:
    """Return the next places behind a position of each slot, by position."""
    if not ahead or not number:
        return []
    slots = [_of_slot(slot, position, number).subquery() for slot, position in ahead.items()]
    every = union_all(*(select(each) for each in slots))
    found = connection.execute(every.order_by("position", "slot").limit(number))
    return [_Place(bytes(row.id), int(row.slot), int(row.position)) for row in found]


def _of_slot(slot: int, position: int, number: int) -> Select[Any]:
    return (
        select(leads.c.id, leads.c.stored_slot.label("slot"), leads.c.stored_position.label("position"))
        .where(leads.c.stored_slot == slot, leads.c.stored_position > position)
        .order_by(leads.c.stored_position)
        .limit(number)
        .with_hint(leads, _INDEX, "mysql")
    )


def _with_rows(
    connection: Connection, places: list[_Place], source: str | None
) -> Iterator[tuple[_Place, Row[Any] | None]]:
    """Yield each place with its row, or None where that is another source's; reads as many as are asked for."""
    for start in range(0, len(places), ROWS_OF_AN_IN):
        few = places[start : start + ROWS_OF_AN_IN]
        wanted = select(leads).where(leads.c.id.in_([each.id for each in few]))
        if source is not None:
            wanted = wanted.where(leads.c.source == source)
        found = connection.execute(wanted.with_hint(leads, "FORCE INDEX (PRIMARY)", "mysql"))
        rows = {bytes(row.id): row for row in found}
        yield from ((each, rows.get(each.id)) for each in few)
