"""Counts of stored leads by time bucket: the exact total, the statistics and the way to any page.

A bucket is a span of the ids' own time. Buckets come in widths that nest, from 32 days down to
a tenth of a millisecond. A batch adds to them in the transaction that inserts it. To find the
lead at a position, walk down: the widest buckets, the days of one, the hours of that day, and
so on, until a bucket holds no more than LEAF_SIZE leads.

From 32 days to minutes every lead is counted. Below a minute the buckets may be missing: those
of quiet minutes are removed after a while, and the narrowest are only made where leads are
dense (see schema.counts.maintain). So the narrower buckets of one wider are believed only when they
add up to it. Each holds a part of its leads and none twice: when the sum is right, all are there.

A bucket has a few slots, one row each: workers that store at the same moment add to
different rows and do not wait for each other's COMMIT.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from schema.counts.totals import DataVersion
from schema.counts.widths import END, LEAF_SIZE, MICROS, WIDTHS, first_of
from schema.database.tables import lead_counts, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId


def by_bucket(connection: Connection, width: int, start: int, end: int) -> dict[int, int]:
    """Return the stored leads in each bucket of `width` that begins in [start, end), empty ones left out.

    `width` is DAY, HOUR or MINUTE; all are in seconds.
    """
    rows = connection.execute(_buckets(width * MICROS, start * MICROS, end * MICROS))
    return {int(bucket) // MICROS: int(stored) for bucket, stored in rows if stored}


def before(connection: Connection, micros: int) -> int:
    """Return how many stored leads were created before `micros` (microseconds since 1970).

    Rows are counted in one bucket of at most LEAF_SIZE leads.
    """
    number, start, end, inside = 0, 0, END, None
    for width in WIDTHS:
        found = _read(connection, width, start, end)
        if inside is not None and sum(found.values()) != inside:
            break
        edge = first_of(micros, width)
        number += sum(stored for bucket, stored in found.items() if bucket < edge)
        start, end, inside = edge, edge + width, found.get(edge, 0)
        if micros == edge or not inside:
            return number
        if inside <= LEAF_SIZE:
            break
    within = select(func.count()).where(leads.c.id >= lead_id.at(start), leads.c.id < lead_id.at(micros))
    return number + int(connection.execute(within).scalar_one())


@dataclass(frozen=True)
class Place:
    """Where a position is: `skip` rows into the span of ids from `first` (kept) to `last` (left out)."""

    first: LeadId
    last: LeadId
    skip: int
    stored: int  # rows in the span


# By width, first microsecond and leads of the wider bucket: the leads of each bucket within that one.
KnownBuckets = dict[tuple[int, int, int], dict[int, int]]


class BucketCache:
    """Buckets that were read before and are the same still, however many leads were stored elsewhere since.

    Leads are added to a bucket and to all wider ones in one transaction: while a bucket holds as many as it did, so do
    those within it. Only removing leads or counting them anew could change that, and a version tells of both.
    """

    # Wider buckets whose narrower ones are remembered, of 100 rows at most each.
    MOST = 2_000

    def __init__(self) -> None:
        self._known: tuple[tuple[int, ...], KnownBuckets] = ((), {})

    def of(self, version: DataVersion) -> KnownBuckets:
        """Return what is known of the table of that version, for `locate` to read and to add to."""
        history = (version.expired, version.revision, version.retention_cutoff)
        known, within = self._known
        if known != history or len(within) > self.MOST:
            within = {}
            self._known = (history, within)
        return within


def locate(connection: Connection, position: int, known: KnownBuckets | None = None) -> Place | None:
    """Find the lead at `position` (from 0) in the order of creation; None past the end.

    What is in `known` is not read again, and what is read is added to it.

    Reads at most a row for each slot of: the months so far, 32 days, 24 hours, 60 minutes, 60
    seconds, 100 centiseconds and 100 of the narrowest buckets.
    """
    known = {} if known is None else known
    start, end, stored = 0, END, -1
    for width in WIDTHS:
        wider = (width, start, stored)
        found = known.get(wider) or _read(connection, width, start, end)
        if stored >= 0:
            if sum(found.values()) != stored:
                break
            known[wider] = found
        for bucket, number in found.items():
            if position < number:
                start, end, stored = bucket, bucket + width, number
                break
            position -= number
        else:
            return None
        if stored <= LEAF_SIZE:
            break
    return Place(lead_id.at(start), lead_id.at(end), position, stored)


def _read(connection: Connection, width: int, start: int, end: int) -> dict[int, int]:
    """Return the leads of each bucket, in order."""
    return {int(bucket): int(number) for bucket, number in connection.execute(_buckets(width, start, end))}


def _buckets(width: int, start: int, end: int) -> Select[Any]:
    table = lead_counts
    return (
        select(table.c.bucket, func.sum(table.c.stored))
        .where(table.c.width == width, table.c.bucket >= start, table.c.bucket < end)
        .group_by(table.c.bucket)
        .order_by(table.c.bucket)
    )
