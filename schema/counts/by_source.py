"""Stored leads of each source by hour and day of their ids, and duplicates: totals of lists, and statistics.

A batch adds to them in the transaction that inserts it. They have slots, as the other counts do.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, true

from schema.counts.upsert import Upsert
from schema.counts.widths import DAY, HOUR, LAST_MICROS, MICROS, SLOTS
from schema.database.lead_row import LeadRow
from schema.database.tables import duplicate_counts, leads, source_counts
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

SOURCE_WIDTHS = (DAY, HOUR)  # seconds

# In place of a source's name: all, users too. Of duplicates alone; schema.counts.totals has the number of all leads.
OF_ALL = ""

# Delay (seconds) between the end of a bucket and the merge of its slots, so that most of its leads are stored by then.
MERGE_AFTER = 60

# Age (seconds) of the oldest buckets whose slots are merged. An older one, of late leads, stays in several rows, which
# costs a little room.
MERGE_AGE_MAX = 8 * DAY

# Rows read with one statement.
ROWS_AT_ONCE = 10_000

Numbers = Counter[tuple[str, int, int]]  # leads by source, width and bucket


class CountedLead(NamedTuple):
    """What of a lead decides where it is counted."""

    id: LeadId
    source: str | None
    is_duplicate: bool


class SourceCounts:
    """The counts in one table: of the leads to which `names_of` gives a name, under each of their names."""

    def __init__(
        self,
        label: str,
        table: Table,
        names_of: Callable[[LeadRow | CountedLead], tuple[str, ...]],
        *,
        rows: ColumnElement[bool],
        index: str,
    ) -> None:
        """Take a word for the counted leads, the condition that their rows meet, and an index that has those by id."""
        self.label = label
        self._table = table
        self._names_of = names_of
        self._rows = rows
        self._index = index
        self._upsert = Upsert(table)

    def add(self, connection: Connection, rows: Iterable[LeadRow], slot: int) -> None:
        """Count newly inserted leads in their own, open transaction. `slot` (any number) spreads concurrent writers."""
        self._write(connection, _sums(self._hours(rows)), slot % SLOTS)

    def by_bucket(self, connection: Connection, source: str, width: int, start: int, end: int) -> dict[int, int]:
        """Return the leads of a source by first second of the buckets that begin in [start, end), in seconds.

        `width` is one of SOURCE_WIDTHS. Empty buckets are left out.
        """
        table = self._table
        query = select(table.c.bucket, func.sum(table.c.stored)).where(
            table.c.source == source, table.c.width == width, table.c.bucket >= start, table.c.bucket < end
        )
        found = connection.execute(query.group_by(table.c.bucket))
        return {int(bucket): int(number) for bucket, number in found if number}

    def total(self, connection: Connection, source: str) -> int:
        """Return how many leads of the source are counted, without counting rows."""
        table = self._table
        query = select(func.coalesce(func.sum(table.c.stored), 0)).where(table.c.source == source, table.c.width == DAY)
        return int(connection.execute(query).scalar_one())

    def subtract(self, connection: Connection, gone: Iterable[CountedLead]) -> None:
        """Subtract the leads of deleted rows in their open transaction."""
        hours = self._hours(gone)
        self._write(connection, _sums(Counter({key: -number for key, number in hours.items()})), 0)

    def remove_before(self, connection: Connection, end: int) -> None:
        """Remove the counts of all leads before `end` (microseconds since 1970, a midnight) in the open transaction."""
        table = self._table
        for width in SOURCE_WIDTHS:
            connection.execute(delete(table).where(table.c.width == width, table.c.bucket < end // MICROS))

    def remove_all(self, connection: Connection) -> None:
        """Remove the counts in the open transaction."""
        connection.execute(delete(self._table))

    def recount(self, connection: Connection, start: int, end: int) -> None:
        """Add the rows of [start, end), in microseconds since 1970, to the counts, which must not have them yet."""
        self._write(connection, self._counted(connection, start, end), 0)

    def differences(self, connection: Connection) -> Iterator[tuple[str, int, int, int, int]]:
        """Yield source, width, bucket, counted leads and rows of each bucket in which the last two differ.

        Reads every row that is counted: for checks, never for requests.
        """
        table = self._table
        columns = (table.c.source, table.c.width, table.c.bucket)
        found = connection.execute(select(*columns, func.sum(table.c.stored)).group_by(*columns))
        there: Numbers = Counter({(source, width, bucket): int(number) for source, width, bucket, number in found})
        rows = self._counted(connection, 0, LAST_MICROS)
        for key in sorted({*there, *rows}):
            if there[key] != rows[key]:
                yield *key, there[key], rows[key]

    def merge_slots(self, connection: Connection, now: float | None = None) -> None:
        """Merge the slots of the past hours and days of a week, in the open transaction."""
        table = self._table
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
            self._write(connection, Counter({(source, width, bucket): sum(each.stored for each in found)}), 0)

    def _counted(self, connection: Connection, start: int, end: int) -> Numbers:
        """Count the rows of [start, end)."""
        hours: Counter[tuple[str, int]] = Counter()
        columns = select(leads.c.id, leads.c.source, leads.c.is_duplicate)
        columns = columns.with_hint(leads, f"FORCE INDEX ({self._index})", "mysql")
        statement = columns.where(self._rows, leads.c.id < lead_id.at(end)).order_by(leads.c.id).limit(ROWS_AT_ONCE)
        found = connection.execute(statement.where(leads.c.id >= lead_id.at(start))).all()
        while found:
            hours.update(self._hours(CountedLead(bytes(row.id), row.source, row.is_duplicate) for row in found))
            found = connection.execute(statement.where(leads.c.id > bytes(found[-1].id))).all()
        return _sums(hours)

    def _hours(self, rows: Iterable[LeadRow | CountedLead]) -> Counter[tuple[str, int]]:
        """Count leads by name and hour."""
        return Counter((name, _hour(row.id)) for row in rows for name in self._names_of(row))

    def _write(self, connection: Connection, numbers: Numbers, slot: int) -> None:
        self._upsert(connection, [(*key, slot, number) for key, number in numbers.items() if number])


def _hour(lead: LeadId) -> int:
    """Return the first second of the hour in which a lead was created."""
    return lead_id.micros_of(lead) // MICROS // HOUR * HOUR


def _sums(hours: Counter[tuple[str, int]]) -> Numbers:
    """Add up numbers, given by source and hour, for each width."""
    sums: Numbers = Counter()
    for (source, hour), number in hours.items():
        for width in SOURCE_WIDTHS:
            sums[source, width, hour - hour % width] += number
    return sums


def _source_of(row: LeadRow | CountedLead) -> tuple[str, ...]:
    return (row.source,) if row.source else ()


def _names_of_duplicate(row: LeadRow | CountedLead) -> tuple[str, ...]:
    return (OF_ALL, *_source_of(row)) if row.is_duplicate else ()


SOURCE_COUNTS = SourceCounts(
    "leads",
    source_counts,
    _source_of,
    rows=leads.c.source.is_not(None),
    # By id, since the index on the source would have to be read as often as there are parts.
    index="PRIMARY",
)
DUPLICATE_COUNTS = SourceCounts(
    "duplicates",
    duplicate_counts,
    _names_of_duplicate,
    rows=leads.c.is_duplicate == true(),
    index="leads_duplicate",
)

# In the order in which all that write lock their tables, after those of schema.counts.write.
KINDS = (SOURCE_COUNTS, DUPLICATE_COUNTS)
