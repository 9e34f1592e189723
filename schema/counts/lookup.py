"""Counts of stored leads by time bucket: the exact total, the statistics and the way to any page.

A bucket is a span of the ids' own time. Buckets come in widths that nest, from 32 days down to
a tenth of a millisecond. A batch adds to them in the transaction that inserts it. To find the
lead at a position, walk down: the widest buckets, the days of one, the hours of that day, and
so on, until a bucket holds no more than LEAF leads.

From 32 days to minutes every lead is counted. Below a minute the buckets may be missing: those
of quiet minutes are removed after a while, and the narrowest are only made where leads are
dense (see schema.counts.recount). So the narrower buckets of one wider are believed only when they
add up to it. Each holds a part of its leads and none twice: when the sum is right, all are there.

A bucket has a few slots, one row each: workers that store at the same moment add to
different rows and do not wait for each other's COMMIT.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, String, cast, func, select

from schema.counts.widths import END, EVER, EXPIRED, HORIZON, LEAF, LEDGER, MICROS, REVISION, WIDTHS, first_of
from schema.database.tables import lead_counts, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId


@dataclass(frozen=True, slots=True)
class Version:
    """The state of the whole table. Two that are equal: nothing was stored or removed between them."""

    ever: int  # leads ever stored
    expired: int  # of those, removed again because they were older than the retention
    revision: int  # times that the counts were made anew
    horizon: int  # while a month is being removed: the first microsecond that is kept; else 0

    @property
    def total(self) -> int:
        """The number of stored leads."""
        return self.ever - self.expired

    @property
    def progress(self) -> int:
        """A number that only grows: a replica with a smaller one has not come as far."""
        return (self.revision << 56) + self.ever + self.expired


_VERSION = (
    select(lead_counts.c.bucket, func.sum(lead_counts.c.stored))
    .where(lead_counts.c.width == LEDGER)
    .group_by(lead_counts.c.bucket)
)


# The same as one text, for those who want it beside something else. With all slots of all four it is shorter than
# the 1,024 characters that MySQL makes of a GROUP_CONCAT.
VERSION_TEXT = (
    select(func.group_concat(cast(lead_counts.c.bucket, String) + ":" + cast(lead_counts.c.stored, String)))
    .where(lead_counts.c.width == LEDGER)
    .scalar_subquery()
)


def read_version(text: str | None) -> Version:
    """Return the version that VERSION_TEXT gave."""
    numbers = [0, 0, 0, 0]
    for each in (text or "").split(","):
        bucket, _, number = each.partition(":")
        if number:
            numbers[int(bucket)] += int(number)
    return Version(*numbers)


def version(connection: Connection) -> Version:
    """Return the version as of the connection's snapshot, with the exact total: it reads about ten rows."""
    found = {int(bucket): int(number) for bucket, number in connection.execute(_VERSION)}
    return Version(*(found.get(name, 0) for name in (EVER, EXPIRED, REVISION, HORIZON)))


def total(connection: Connection) -> int:
    """Return the number of stored leads, exactly, without counting rows."""
    return version(connection).total


def by_bucket(connection: Connection, width: int, start: int, end: int) -> dict[int, int]:
    """Return the stored leads in each bucket of `width` that begins in [start, end), empty ones left out.

    `width` is DAY, HOUR or MINUTE; all are in seconds.
    """
    rows = connection.execute(_buckets(width * MICROS, start * MICROS, end * MICROS))
    return {int(bucket) // MICROS: int(stored) for bucket, stored in rows if stored}


def before(connection: Connection, micros: int) -> int:
    """Return how many stored leads were created before `micros` (microseconds since 1970).

    Rows are counted in one bucket of at most LEAF leads.
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
        if inside <= LEAF:
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
Within = dict[tuple[int, int, int], dict[int, int]]


class Levels:
    """Buckets that were read before and are the same still, however many leads were stored elsewhere since.

    Leads are added to a bucket and to all wider ones in one transaction: while a bucket holds as many as it did, so do
    those within it. Only removing leads or counting them anew could change that, and a version tells of both.
    """

    # Wider buckets whose narrower ones are remembered, of 100 rows at most each.
    MOST = 2_000

    def __init__(self) -> None:
        self._known: tuple[tuple[int, ...], Within] = ((), {})

    def of(self, version: Version) -> Within:
        """Return what is known of the table of that version, for `locate` to read and to add to."""
        history = (version.expired, version.revision, version.horizon)
        known, within = self._known
        if known != history or len(within) > self.MOST:
            within = {}
            self._known = (history, within)
        return within


def locate(connection: Connection, position: int, known: Within | None = None) -> Place | None:
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
        if stored <= LEAF:
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
