"""Looks up counts of stored leads by time bucket: the statistics and the position of any page.

A bucket is a span of the ids' time. The widths nest, from 32 days down to a tenth of a
millisecond. A batch adds to the buckets in the transaction that inserts it. The lead at a
position is found by walking down: the widest buckets, the days of one, the hours of that day, and
so on, until a bucket holds at most LEAF_SIZE leads.

From 32 days to minutes every lead is counted. Finer buckets may be missing: compaction removes
those of quiet minutes, and the finest are written only where leads are dense (see
schema.counts.maintain). Finer buckets are therefore used only when they add up to the wider one;
no lead is counted twice, so a right sum means that none is missing.

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
    """Return the stored leads by first second of the buckets of `width` that begin in [start, end), without empty ones.

    `width` is DAY, HOUR or MINUTE; all are in seconds.
    """
    rows = connection.execute(_buckets(width * MICROS, start * MICROS, end * MICROS))
    return {int(bucket) // MICROS: int(stored) for bucket, stored in rows if stored}


def before(connection: Connection, micros: int) -> int:
    """Return how many stored leads were created before `micros` (microseconds since 1970).

    Reads counts, and counts rows within one bucket only: of at most LEAF_SIZE leads unless finer buckets are missing.
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
    """Where a position is: `skip` rows into the span of ids [first, last)."""

    first: LeadId
    last: LeadId
    skip: int
    stored: int  # rows in the span


# Key: the finer width, then first microsecond and leads of the wider bucket. Value: leads of each finer bucket in it.
KnownBuckets = dict[tuple[int, int, int], dict[int, int]]


class BucketCache:
    """A cache of buckets that stays valid while leads are stored in other buckets.

    Leads are added to a bucket and to all wider ones in one transaction, so an unchanged count means unchanged finer
    buckets. Only retention, an erasure and a rebuild break that; each changes the data version, which empties the
    cache.
    """

    # Most wider buckets whose finer ones are cached; each has at most some 100 of them.
    MOST = 2_000

    def __init__(self) -> None:
        self._known: tuple[tuple[int, ...], KnownBuckets] = ((), {})

    def of(self, version: DataVersion) -> KnownBuckets:
        """Return the cached buckets that hold at this data version, for `locate` to read and to extend."""
        history = (version.expired, version.erased, version.revision, version.retention_cutoff)
        known, within = self._known
        if known != history or len(within) > self.MOST:
            within = {}
            self._known = (history, within)
        return within


def locate(connection: Connection, position: int, known: KnownBuckets | None = None) -> Place | None:
    """Find the lead at `position` (from 0) in the order of creation; None past the end.

    Buckets in `known` are not read again; buckets that are read are added to it.

    Reads at most one row per slot of: the 32-day buckets so far, 32 days, 24 hours, 60 minutes, 60
    seconds, 100 centiseconds and 100 of the finest buckets.
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
    """Return the leads by bucket, in order."""
    return {int(bucket): int(number) for bucket, number in connection.execute(_buckets(width, start, end))}


def _buckets(width: int, start: int, end: int) -> Select[Any]:
    table = lead_counts
    return (
        select(table.c.bucket, func.sum(table.c.stored))
        .where(table.c.width == width, table.c.bucket >= start, table.c.bucket < end)
        .group_by(table.c.bucket)
        .order_by(table.c.bucket)
    )
