"""Counts of stored leads by time bucket: the exact total, the statistics and the way to any page.

A bucket is a span of the ids' own time. Buckets come in four widths that nest (day, hour,
minute, second): a batch adds to one or two buckets of each width, in the transaction that
inserts it, so that at any snapshot each width sums up to the number of rows. To find the
lead at a position, walk down: days, the hours of that day, its minutes, its seconds.

A bucket has a few slots, one row each: workers that store at the same moment add to
different rows and do not wait for each other's COMMIT.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.dialects import mysql, sqlite

from schema import lead_id
from schema.lead_id import LeadId
from schema.tables import lead_counts

DAY, HOUR, MINUTE, SECOND = 86400, 3600, 60, 1  # seconds
WIDTHS = (DAY, HOUR, MINUTE, SECOND)
SLOTS = 8

_MICROS = 1_000_000
_END = 1 << 40  # seconds since 1970, later than any id's time


def add(connection: Connection, ids: Iterable[LeadId], slot: int) -> None:
    """Count newly inserted leads, in their own transaction. `slot` (any number) spreads concurrent writers."""
    seconds = Counter(lead_id.micros_of(each) // _MICROS for each in ids)
    buckets: Counter[tuple[int, int]] = Counter()
    for second, number in seconds.items():
        for width in WIDTHS:
            buckets[width, second - second % width] += number
    # Sorted, so that two transactions take their locks in one order.
    rows = [
        {"width": width, "bucket": bucket, "slot": slot % SLOTS, "stored": number}
        for (width, bucket), number in sorted(buckets.items())
    ]
    if not rows:
        return
    table = lead_counts
    if connection.dialect.name == "sqlite":
        upsert = sqlite.insert(table).values(rows)
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[table.c.width, table.c.bucket, table.c.slot],
                set_={"stored": table.c.stored + upsert.excluded.stored},
            )
        )
    else:
        statement = mysql.insert(table).values(rows)
        connection.execute(statement.on_duplicate_key_update(stored=table.c.stored + statement.inserted.stored))


def total(connection: Connection) -> int:
    """Return the number of stored leads, exactly, without counting rows."""
    query = select(func.coalesce(func.sum(lead_counts.c.stored), 0)).where(lead_counts.c.width == DAY)
    return int(connection.execute(query).scalar_one())


def by_bucket(connection: Connection, width: int, start: int, end: int) -> dict[int, int]:
    """Return the stored leads in each bucket of `width` that begins in [start, end), empty ones left out."""
    rows = connection.execute(_buckets(width, start, end))
    return {int(bucket): int(stored) for bucket, stored in rows if stored}


def before(connection: Connection, second: int) -> int:
    """Return how many stored leads were created before `second` (seconds since 1970)."""
    number, start = 0, 0
    for width in WIDTHS:
        end = second - second % width
        query = select(func.coalesce(func.sum(lead_counts.c.stored), 0)).where(
            lead_counts.c.width == width, lead_counts.c.bucket >= start, lead_counts.c.bucket < end
        )
        number += int(connection.execute(query).scalar_one())
        start = end
    return number


@dataclass(frozen=True)
class Place:
    """Where a position is: `skip` rows into the span of ids from `first` (kept) to `last` (left out)."""

    first: LeadId
    last: LeadId
    skip: int
    stored: int  # rows in the span


def locate(connection: Connection, position: int) -> Place | None:
    """Find the lead at `position` (from 0) in the order of creation; None past the end.

    Reads at most a row for each slot of: every day, 24 hours, 60 minutes, 60 seconds.
    """
    start, end, stored = 0, _END, 0
    for width in WIDTHS:
        for bucket, number in connection.execute(_buckets(width, start, end)):
            if position < number:
                start, end, stored = int(bucket), int(bucket) + width, int(number)
                break
            position -= int(number)
        else:
            return None
    return Place(lead_id.at(start * _MICROS), lead_id.at(end * _MICROS), position, stored)


def _buckets(width: int, start: int, end: int) -> Select[Any]:
    table = lead_counts
    return (
        select(table.c.bucket, func.sum(table.c.stored))
        .where(table.c.width == width, table.c.bucket >= start, table.c.bucket < end)
        .group_by(table.c.bucket)
        .order_by(table.c.bucket)
    )
