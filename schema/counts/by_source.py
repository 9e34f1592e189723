"""Stored leads of each source by hour and day of their ids: totals of lists, and statistics.

A batch adds to them in the transaction that inserts it. They have slots, as the other counts do.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Connection, delete, func, select

from schema.counts.upsert import Upsert
from schema.counts.widths import DAY, HOUR, LAST_MICROS, MICROS, SLOTS
from schema.database.lead_row import LeadRow
from schema.database.tables import leads, source_counts
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

SOURCE_WIDTHS = (DAY, HOUR)  # seconds

# Delay (seconds) between the end of a bucket and the merge of its slots, so that most of its leads are stored by then.
MERGE_AFTER = 60

# Age (seconds) of the oldest buckets whose slots are merged. An older one, of late leads, stays in several rows, which
# costs a little room.
MERGE_AGE_MAX = 8 * DAY

# Rows read with one statement.
ROWS_AT_ONCE = 10_000

Numbers = Counter[tuple[str, int, int]]  # leads by source, width and bucket

_add = Upsert(source_counts)


def add(connection: Connection, rows: Iterable[LeadRow], slot: int) -> None:
    """Count newly inserted leads in their own, open transaction. Call it after `write.add`: all lock in one order."""
    came = Counter((row.source, _hour(row.id)) for row in rows if row.source)
    _write(connection, _sums((source, hour, number) for (source, hour), number in came.items()), slot % SLOTS)


def by_bucket(connection: Connection, source: str, width: int, start: int, end: int) -> dict[int, int]:
    """Return the source's stored leads by first second of the buckets that begin in [start, end), in seconds.

    `width` is one of SOURCE_WIDTHS. Empty buckets are left out.
    """
    table = source_counts
    query = select(table.c.bucket, func.sum(table.c.stored)).where(
        table.c.source == source, table.c.width == width, table.c.bucket >= start, table.c.bucket < end
    )
    found = connection.execute(query.group_by(table.c.bucket))
    return {int(bucket): int(number) for bucket, number in found if number}


def total(connection: Connection, source: str) -> int:
    """Return how many leads of the source are stored, without counting rows."""
    table = source_counts
    query = select(func.coalesce(func.sum(table.c.stored), 0)).where(table.c.source == source, table.c.width == DAY)
    return int(connection.execute(query).scalar_one())


def subtract(connection: Connection, sources: Mapping[LeadId, str | None]) -> None:
    """Subtract the leads of deleted rows, with their sources, in their open transaction."""
    gone = Counter((source, _hour(lead)) for lead, source in sources.items() if source)
    _write(connection, _sums((source, hour, -number) for (source, hour), number in gone.items()), 0)


def remove_before(connection: Connection, end: int) -> None:
    """Remove the counts of all leads before `end` (microseconds since 1970, a midnight) in the open transaction."""
    table = source_counts
    for width in SOURCE_WIDTHS:
        connection.execute(delete(table).where(table.c.width == width, table.c.bucket < end // MICROS))


def recount(connection: Connection, start: int, end: int) -> None:
    """Add the rows of [start, end), in microseconds since 1970, to the counts, which must not have them yet."""
    _write(connection, _counted(connection, start, end), 0)


def differences(connection: Connection) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield source, width, bucket, counted leads and rows of each bucket in which the last two differ.

    Reads every row: for checks, never for requests.
    """
    table = source_counts
    columns = (table.c.source, table.c.width, table.c.bucket)
    found = connection.execute(select(*columns, func.sum(table.c.stored)).group_by(*columns))
    there: Numbers = Counter({(source, width, bucket): int(number) for source, width, bucket, number in found})
    rows = _counted(connection, 0, LAST_MICROS)
    for key in sorted({*there, *rows}):
        if there[key] != rows[key]:
            yield *key, there[key], rows[key]


def merge_slots(connection: Connection, now: float | None = None) -> None:
    """Merge the slots of the past hours and days of a week, in the open transaction."""
    table = source_counts
    end = int((time.time() if now is None else now) - MERGE_AFTER)
    over: set[tuple[str, int, int]] = set()
    for width in SOURCE_WIDTHS:
        query = select(table.c.source, table.c.bucket).where(
            table.c.width == width, table.c.bucket.between(end - MERGE_AGE_MAX, end - width), table.c.slot > 0
        )
        over.update((source, width, int(bucket)) for source, bucket in connection.execute(query))
    # In the order in which workers lock the rows.
    for source, width, bucket in sorted(over):
        here = (table.c.source == source, table.c.width == width, table.c.bucket == bucket)
        found = connection.execute(select(table.c.slot, table.c.stored).where(*here).with_for_update()).all()
        connection.execute(delete(table).where(*here, table.c.slot.in_([each.slot for each in found])))
        _write(connection, Counter({(source, width, bucket): sum(each.stored for each in found)}), 0)


def _counted(connection: Connection, start: int, end: int) -> Numbers:
    """Count the rows of [start, end) that have a source."""
    hours: Counter[tuple[str, int]] = Counter()
    # By id, since the index on the source would have to be read as often as there are parts.
    columns = select(leads.c.id, leads.c.source).with_hint(leads, "FORCE INDEX (PRIMARY)", "mysql")
    statement = columns.where(leads.c.source.is_not(None), leads.c.id < lead_id.at(end))
    statement = statement.order_by(leads.c.id).limit(ROWS_AT_ONCE)
    found = connection.execute(statement.where(leads.c.id >= lead_id.at(start))).all()
    while found:
        hours.update((source, _hour(bytes(lead))) for lead, source in found)
        found = connection.execute(statement.where(leads.c.id > bytes(found[-1].id))).all()
    return _sums((source, hour, number) for (source, hour), number in hours.items())


def _hour(lead: LeadId) -> int:
    """Return the first second of the hour in which a lead was created."""
    return lead_id.micros_of(lead) // MICROS // HOUR * HOUR


def _sums(hours: Iterable[tuple[str, int, int]]) -> Numbers:
    """Add up numbers, given by source and hour, for each width."""
    sums: Numbers = Counter()
    for source, hour, number in hours:
        for width in SOURCE_WIDTHS:
            sums[source, width, hour - hour % width] += number
    return sums


def _write(connection: Connection, numbers: Numbers, slot: int) -> None:
    _add(connection, [(*key, slot, number) for key, number in numbers.items() if number])
