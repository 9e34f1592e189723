"""Counts a batch in the transaction that inserts it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from sqlalchemy import Connection

from schema.counts import totals
from schema.counts.upsert import Upsert
from schema.counts.widths import (
    CENTISECOND,
    FINE_LEVEL_MIN,
    MIN_PER_LEVEL,
    MINUTES,
    SLOTS,
    SPAN,
    TENTH_MS,
    WIDTHS,
    first_of,
)
from schema.database.tables import dirty_minutes, lead_counts
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

_add_to_counts = Upsert(lead_counts)
_add_to_minutes = Upsert(dirty_minutes)


def add(connection: Connection, ids: Iterable[LeadId], slot: int) -> None:
    """Count newly inserted leads, in their own transaction. `slot` (any number) spreads concurrent writers."""
    for upsert_into, rows in changes_of(ids, slot):
        upsert_into(connection, rows)


def changes_of(ids: Iterable[LeadId], slot: int) -> list[tuple[Upsert, list[tuple[int, ...]]]]:
    """Return the rows that count newly inserted leads, table by table in the order in which they are locked."""
    moments = lead_id.micros_of_all(ids)
    if not moments:
        return []
    slot %= SLOTS
    # Whoever compacts a minute locks its rows before all others.
    minutes = Counter([each - each % MINUTES for each in moments])
    buckets = numbers_of(moments)
    return [
        (_add_to_minutes, [(minute, slot, number) for minute, number in sorted(minutes.items())]),
        (totals.ADD, [(slot, len(moments), 0, 0, 0)]),
        (_add_to_counts, [(width, bucket, slot, number) for (width, bucket), number in sorted(buckets.items())]),
    ]


def numbers_of(moments: list[int]) -> dict[tuple[int, int], int]:
    """Return what leads of these moments (microseconds since 1970) add to the buckets, by width and bucket."""
    sums = {CENTISECOND: Counter([each - each % CENTISECOND for each in moments])}
    for narrower, width in pairwise(reversed(WIDTHS[:-1])):
        sums[width] = Counter()
        for bucket, number in sums[narrower].items():
            sums[width][first_of(bucket, width)] += number
    dense = {bucket for bucket, number in sums[CENTISECOND].items() if number >= FINE_LEVEL_MIN}
    sums[TENTH_MS] = Counter([each - each % TENTH_MS for each in moments if each - each % CENTISECOND in dense])
    numbers: dict[tuple[int, int], int] = {}
    for wider, width in pairwise((SPAN, *WIDTHS)):
        above = sums[wider]
        least = _least(width, len(above))
        # The batches before and after go on where this one begins and ends, perhaps with many more.
        edges = (min(above), max(above)) if least == MIN_PER_LEVEL else ()
        for bucket, number in sums[width].items():
            first = first_of(bucket, wider)
            if above[first] >= least or first in edges:
                numbers[width, bucket] = number
    return numbers


def _least(width: int, buckets_above: int) -> int:
    """Return the fewest leads of a wider bucket from which its narrower ones of `width` are written."""
    if width >= MINUTES:
        return 0
    if width == TENTH_MS:
        return FINE_LEVEL_MIN
    return MIN_PER_LEVEL if buckets_above > 2 else 0


def upsert(connection: Connection, numbers: Mapping[tuple[int, int], int], slot: int = 0) -> None:
    """Add numbers to the rows of a slot, keyed by width and bucket; make those that are not there."""
    _add_to_counts(connection, [(width, bucket, slot, number) for (width, bucket), number in numbers.items()])


def lock_minute(connection: Connection, minute: int) -> None:
    """Keep those who store leads of a minute out until the transaction that is open ends."""
    _add_to_minutes(connection, [(minute, slot, 0) for slot in range(SLOTS)])
