"""Adds a batch to the counts, in the transaction that inserts it."""

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
    """Count newly inserted leads in their own, open transaction. `slot` (any number) spreads concurrent writers."""
    for upsert_into, rows in changes_of(ids, slot):
        upsert_into(connection, rows)


def changes_of(ids: Iterable[LeadId], slot: int) -> list[tuple[Upsert, list[tuple[int, ...]]]]:
    """Return the rows that count newly inserted leads, by table, in the order in which all writers lock the tables."""
    moments = lead_id.micros_of_all(ids)
    if not moments:
        return []
    slot %= SLOTS
    # Dirty minutes first: a compaction locks them before the counts, too, which avoids deadlocks.
    minutes = Counter([each - each % MINUTES for each in moments])
    buckets = numbers_of(moments)
    return [
        (_add_to_minutes, [(minute, slot, number) for minute, number in sorted(minutes.items())]),
        (totals.ADD, [(slot, len(moments), 0, 0, 0, 0)]),
        (_add_to_counts, [(width, bucket, slot, number) for (width, bucket), number in sorted(buckets.items())]),
    ]


def numbers_of(moments: list[int]) -> dict[tuple[int, int], int]:
    """Return what leads with these times (microseconds since 1970) add to each (width, bucket)."""
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
        # The first and the last bucket are shared with the neighbouring batches, which may add many more leads.
        edges = (min(above), max(above)) if least == MIN_PER_LEVEL else ()
        for bucket, number in sums[width].items():
            first = first_of(bucket, wider)
            if above[first] >= least or first in edges:
                numbers[width, bucket] = number
    return numbers


def _least(width: int, buckets_above: int) -> int:
    """Return the fewest leads in the next wider bucket at which its buckets of `width` are written."""
    if width >= MINUTES:
        return 0
    if width == TENTH_MS:
        return FINE_LEVEL_MIN
    return MIN_PER_LEVEL if buckets_above > 2 else 0


def upsert(connection: Connection, numbers: Mapping[tuple[int, int], int], slot: int = 0) -> None:
    """Add numbers, keyed by width and bucket, to the rows of a slot; insert missing rows."""
    _add_to_counts(connection, [(width, bucket, slot, number) for (width, bucket), number in numbers.items()])


def lock_minute(connection: Connection, minute: int) -> None:
    """Lock a minute's rows: workers that store leads of it block until the open transaction ends."""
    _add_to_minutes(connection, [(minute, slot, 0) for slot in range(SLOTS)])
