"""Counts of stored leads by time bucket: the exact total, the statistics and the way to any page.

A bucket is a span of the ids' own time. Buckets come in widths that nest, from 32 days down to
a tenth of a millisecond. A batch adds to them in the transaction that inserts it. To find the
lead at a position, walk down: the widest buckets, the days of one, the hours of that day, and
so on, until a bucket holds no more than LEAF leads.

From 32 days to minutes every lead is counted. Below a minute the buckets may be missing: those
of quiet minutes are removed after a while, and the narrowest are only made where leads are
dense (see schema.recount). So the narrower buckets of one wider are believed only when they
add up to it. Each holds a part of its leads and none twice: when the sum is right, all are there.

A bucket has a few slots, one row each: workers that store at the same moment add to
different rows and do not wait for each other's COMMIT.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Select, String, cast, func, select

from schema import database, lead_id
from schema.database import Product
from schema.lead_id import LeadId
from schema.tables import lead_counts, leads

DAY, HOUR, MINUTE, SECOND = 86400, 3600, 60, 1  # seconds

# The widths as the table has them, in microseconds.
MICROS = 1_000_000
SPAN = 32 * DAY * MICROS
MINUTES = MINUTE * MICROS
CENTISECOND = 10_000
FINEST = 100
WIDTHS = (SPAN, DAY * MICROS, HOUR * MICROS, MINUTES, SECOND * MICROS, CENTISECOND, FINEST)

# Rows that are no bucket have these in the place of a width.
MARK = -1  # a minute that leads were added to since it was put in order: see schema.recount
LEDGER = 0  # sums over all time, with one of the following in the place of the first microsecond
EVER, EXPIRED, REVISION, HORIZON = range(4)

SLOTS = 8

# Leads in a bucket that are found by a short OFFSET: no narrower buckets are needed.
LEAF = 200

# Leads of one batch in a bucket from which it counts in the narrower ones too: fewer do not make it more than a leaf.
# A batch within two buckets may be one of many, and always does. The narrowest ones are for what is really dense.
USEFUL = 30
DENSE = 100

END = 1 << 62  # microseconds since 1970, later than any id's time


def add(connection: Connection, ids: Iterable[LeadId], slot: int) -> None:
    """Count newly inserted leads, in their own transaction. `slot` (any number) spreads concurrent writers."""
    numbers = numbers_of(ids)
    if numbers:
        upsert(connection, numbers, slot % SLOTS)


def numbers_of(ids: Iterable[LeadId]) -> dict[tuple[int, int], int]:
    """Return what newly inserted leads add to the rows of the table, by width and bucket."""
    moments = lead_id.micros_of_all(ids)
    if not moments:
        return {}
    sums = {CENTISECOND: Counter([each - each % CENTISECOND for each in moments])}
    for narrower, width in pairwise(reversed(WIDTHS[:-1])):
        sums[width] = Counter()
        for bucket, number in sums[narrower].items():
            sums[width][_first(bucket, width)] += number
    dense = {bucket for bucket, number in sums[CENTISECOND].items() if number >= DENSE}
    sums[FINEST] = Counter([each - each % FINEST for each in moments if each - each % CENTISECOND in dense])
    numbers = {(LEDGER, EVER): len(moments), **{(MARK, bucket): number for bucket, number in sums[MINUTES].items()}}
    for wider, width in pairwise((SPAN, *WIDTHS)):
        above = sums[wider]
        useful = 0 if width >= MINUTES else DENSE if width == FINEST else USEFUL if len(above) > 2 else 0
        # The batches before and after go on where this one begins and ends, perhaps with many more.
        edges = (min(above), max(above)) if useful == USEFUL else ()
        for bucket, number in sums[width].items():
            first = _first(bucket, wider)
            if above[first] >= useful or first in edges:
                numbers[width, bucket] = number
    return numbers


def upsert(connection: Connection, numbers: Mapping[tuple[int, int], int], *slots: int) -> None:
    """Add numbers to the rows of these slots, keyed by width and bucket; make those that are not there."""
    # Sorted, so that two transactions take their locks in one order.
    rows = [
        (width, bucket, slot, number)
        for (width, bucket), number in sorted(numbers.items())
        for slot in sorted(slots or (0,))
    ]
    # Not SQLAlchemy's: a batch has some hundred of these rows, and the driver takes them as they are.
    connection.exec_driver_sql(UPSERTS[database.product_of(connection)], rows)


# Adds to a row, or makes it: width, bucket, slot, leads. STORED is a reserved word of MySQL's; there VALUES() is
# deprecated, and MariaDB has no row alias.
UPSERTS = {
    Product.SQLITE: "INSERT INTO lead_counts (width, bucket, slot, stored) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET stored = stored + excluded.stored",
    Product.MYSQL: "INSERT INTO lead_counts (width, bucket, slot, `stored`) VALUES (%s, %s, %s, %s) AS added "
    "ON DUPLICATE KEY UPDATE `stored` = lead_counts.`stored` + added.`stored`",
    Product.MARIADB: "INSERT INTO lead_counts (width, bucket, slot, `stored`) VALUES (%s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE `stored` = `stored` + VALUES(`stored`)",
}


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
        edge = _first(micros, width)
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


def _first(micros: int, width: int) -> int:
    return micros - micros % width


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
