"""Puts the counts in order: removes and merges what no longer helps, and makes anew what is wrong.

A batch leaves a mark (schema.counts.widths.MARK) on each minute it adds to. When the minute is over,
`tidy` goes through it: a quiet minute loses its narrower buckets, a busy one keeps those that
lead into more than LEAF leads, and slots are merged. Leads that arrive late mark their minute
again.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sqlalchemy import Connection, delete, func, insert, select

from schema.counts import lookup, write
from schema.counts.widths import (
    DAY,
    EVER,
    EXPIRED,
    FINEST,
    HOUR,
    LEAF,
    LEDGER,
    MARK,
    MICROS,
    MINUTES,
    REVISION,
    SLOTS,
    SPAN,
    WIDTHS,
)
from schema.database.tables import lead_counts, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

# Seconds after its end that a minute is put in order: most of its leads are stored by then.
TIDY_AFTER = 60

# Ids read, and rows written, with one statement.
CHUNK = 10_000

Numbers = dict[tuple[int, int], int]  # leads by width and bucket

_BELOW = tuple(width for width in WIDTHS if width < MINUTES)
_ABOVE = dict(pairwise(reversed(WIDTHS)))  # the next wider

# The end of time that ids can hold, microseconds since 1970.
_END = ((1 << 48) - 1) * 1000


def due(connection: Connection, limit: int, now: float | None = None) -> list[int]:
    """Return the first microseconds of marked minutes that are over, the oldest first, `limit` at most."""
    end = int(((time.time() if now is None else now) - TIDY_AFTER) * MICROS) - MINUTES
    table = lead_counts
    query = select(table.c.bucket).where(table.c.width == MARK, table.c.bucket <= end)
    query = query.group_by(table.c.bucket).order_by(table.c.bucket).limit(limit)
    return [int(bucket) for bucket in connection.execute(query).scalars()]


def tidy(connection: Connection, minutes: Sequence[int]) -> None:
    """Put marked minutes in order, in the transaction that is open; `minutes` ascend."""
    table = lead_counts
    # The marks first: whoever adds to a minute after this sets a new one.
    connection.execute(delete(table).where(table.c.width == MARK, table.c.bucket.in_(minutes)))
    query = (
        select(table.c.bucket, func.sum(table.c.stored), func.max(table.c.slot))
        .where(table.c.width == MINUTES, table.c.bucket >= minutes[0], table.c.bucket <= minutes[-1])
        .group_by(table.c.bucket)
        .order_by(table.c.bucket)
    )
    start = minutes[0]
    marked = set(minutes)
    for minute, number, slot in connection.execute(query).all():
        if number > LEAF:
            _remove_below(connection, start, minute)
            start = minute + MINUTES
            if minute in marked:
                _tidy_busy(connection, minute)
        elif slot and minute in marked:
            merge(connection, MINUTES, minute)
    _remove_below(connection, start, minutes[-1] + MINUTES)


def _remove_below(connection: Connection, start: int, end: int) -> None:
    """Remove the buckets below the quiet minutes of [start, end)."""
    if start < end:
        for width in _BELOW:
            _remove(connection, width, start, end)


def _tidy_busy(connection: Connection, minute: int) -> None:
    """Put a minute in order that holds more than a leaf. Whoever stores leads of it waits for the transaction's end."""
    table = lead_counts
    # Every writer of this minute takes one of these rows first.
    write.upsert(connection, {(MARK, minute): 0}, *range(SLOTS))
    merge(connection, MINUTES, minute)
    query = (
        select(table.c.width, table.c.bucket, func.sum(table.c.stored))
        .where(table.c.width.in_((MINUTES, *_BELOW)), table.c.bucket >= minute, table.c.bucket < minute + MINUTES)
        .group_by(table.c.width, table.c.bucket)
    )
    found = {(int(width), int(bucket)): int(number) for width, bucket, number in connection.execute(query)}
    wanted = _needed(found)
    if not _is_complete(wanted):
        wanted = _needed(_sums(_count(connection, minute, minute + MINUTES)))
    _remove_below(connection, minute, minute + MINUTES)
    _write(connection, {key: number for key, number in wanted.items() if key[0] < MINUTES})
    connection.execute(delete(table).where(table.c.width == MARK, table.c.bucket == minute))


def merge_old(connection: Connection, now: float | None = None) -> None:
    """Merge the slots of hours, days and spans that are over, in the transaction that is open."""
    table = lead_counts
    end = int(((time.time() if now is None else now) - TIDY_AFTER) * MICROS)
    for width in (SPAN, DAY * MICROS, HOUR * MICROS):
        query = select(table.c.bucket).where(table.c.width == width, table.c.bucket < end - width, table.c.slot > 0)
        for bucket in connection.execute(query.distinct()).scalars().all():
            merge(connection, width, int(bucket))


def merge(connection: Connection, width: int, bucket: int) -> None:
    """Make one row of a bucket's slots. A writer that adds a slot meanwhile keeps it."""
    table = lead_counts
    here = (table.c.width == width, table.c.bucket == bucket)
    rows = connection.execute(select(table.c.slot, table.c.stored).where(*here).with_for_update()).all()
    if any(row.slot for row in rows):
        connection.execute(delete(table).where(*here, table.c.slot.in_([row.slot for row in rows])))
        write.upsert(connection, {(width, bucket): sum(row.stored for row in rows)})


def differences(connection: Connection) -> Iterator[tuple[int, int, int, int]]:
    """Yield width, first microsecond, number in the counts and number of rows, where the two differ.

    Reads every id: for checks, never for requests. Buckets below a minute need not be there;
    those that are believed must be right.
    """
    rows: Numbers = {}
    there = _all(connection)
    for _, numbers in _by_minute(connection, 0, _END):
        for key, number in _sums(numbers).items():
            if key[0] >= MINUTES:
                rows[key] = rows.get(key, 0) + number
            elif (counted := there.pop(key, 0)) > number:
                yield *key, counted, number
    for key in sorted({*rows, *there}):
        if there.get(key, 0) != rows.get(key, 0):
            yield *key, there.get(key, 0), rows.get(key, 0)
    number = sum(number for (width, _), number in rows.items() if width == SPAN)
    total = lookup.total(connection)
    if total != number:
        yield LEDGER, EVER, total, number


def rebuild(connection: Connection) -> int:
    """Make all counts anew from the rows, in the transaction that is open; return how many rows there are.

    Nothing is stored meanwhile: workers wait, and try again when that takes too long.
    """
    table = lead_counts
    write.upsert(connection, {(LEDGER, EVER): 0}, *range(SLOTS))
    expired = lookup.version(connection).expired
    connection.execute(delete(table).where(table.c.width > 0))
    connection.execute(delete(table).where(table.c.width == MARK))
    number = recount(connection, 0, _END)
    connection.execute(delete(table).where(table.c.width == LEDGER, table.c.bucket == EVER))
    write.upsert(connection, {(LEDGER, EVER): number + expired, (LEDGER, REVISION): 1})
    return number


def recount(connection: Connection, start: int, end: int) -> int:
    """Count the rows of [start, end), in microseconds, into buckets from which they are missing; return how many."""
    upper: Numbers = {}
    total = 0
    for _, numbers in _by_minute(connection, start, end):
        total += numbers.total()
        sums = _sums(numbers)
        for key, number in sums.items():
            if key[0] >= MINUTES:
                upper[key] = upper.get(key, 0) + number
        _write(connection, {key: number for key, number in _needed(sums).items() if key[0] < MINUTES})
    if upper:
        write.upsert(connection, upper)
    return total


def expire(connection: Connection, end: int) -> int:
    """Take all leads before `end` (microseconds since 1970, a midnight) out of the counts; return how many."""
    days = lookup.by_bucket(connection, DAY, 0, end // MICROS)
    number = sum(days.values())
    straddling = end - end % SPAN
    inside = sum(each for first, each in days.items() if first * MICROS >= straddling)
    for width in (MARK, *WIDTHS[1:]):
        _remove(connection, width, 0, end)
    _remove(connection, SPAN, 0, straddling)
    if number:
        write.upsert(connection, {(LEDGER, EXPIRED): number, (SPAN, straddling): -inside})
    return number


def _count(connection: Connection, start: int, end: int) -> Counter[int]:
    """Count the rows of [start, end) by their narrowest bucket."""
    found: Counter[int] = Counter()
    for _, numbers in _by_minute(connection, start, end):
        found.update(numbers)
    return found


def _by_minute(connection: Connection, start: int, end: int) -> Iterator[tuple[int, Counter[int]]]:
    """Yield each minute that has rows, in order, with their number by narrowest bucket."""
    minute, numbers = -1, Counter[int]()
    for each in _ids(connection, lead_id.at(start), lead_id.at(min(end, _END))):
        micros = lead_id.micros_of(each)
        if micros - micros % MINUTES != minute:
            if numbers:
                yield minute, numbers
            minute, numbers = micros - micros % MINUTES, Counter()
        numbers[micros - micros % FINEST] += 1
    if numbers:
        yield minute, numbers


def _ids(connection: Connection, first: LeadId, last: LeadId) -> Iterator[LeadId]:
    statement = select(leads.c.id).where(leads.c.id < last).order_by(leads.c.id).limit(CHUNK)
    found = connection.execute(statement.where(leads.c.id >= first)).scalars().all()
    while found:
        yield from map(bytes, found)
        found = connection.execute(statement.where(leads.c.id > bytes(found[-1]))).scalars().all()


def _sums(finest: dict[int, int]) -> Numbers:
    """Return the leads of each bucket of every width."""
    sums: Counter[tuple[int, int]] = Counter()
    for bucket, number in finest.items():
        for width in WIDTHS:
            sums[width, bucket - bucket % width] += number
    return dict(sums)


def _needed(numbers: Numbers) -> Numbers:
    """Return the buckets that a walk may read: those from minutes up, and below where the wider one is no leaf."""
    return {
        (width, bucket): number
        for (width, bucket), number in numbers.items()
        if width >= MINUTES or numbers.get((_ABOVE[width], bucket - bucket % _ABOVE[width]), 0) > LEAF
    }


def _is_complete(numbers: Numbers) -> bool:
    """Tell whether each bucket that is no leaf has narrower ones that add up to it."""
    sums: Counter[tuple[int, int]] = Counter()
    for (width, bucket), number in numbers.items():
        if width < MINUTES:
            sums[_ABOVE[width], bucket - bucket % _ABOVE[width]] += number
    return all(
        sums[width, bucket] == number
        for (width, bucket), number in numbers.items()
        if FINEST < width <= MINUTES and number > LEAF
    )


def _all(connection: Connection) -> Numbers:
    table = lead_counts
    query = select(table.c.width, table.c.bucket, func.sum(table.c.stored)).where(table.c.width > 0)
    rows = connection.execute(query.group_by(table.c.width, table.c.bucket))
    return {(int(width), int(bucket)): int(number) for width, bucket, number in rows if number}


def _remove(connection: Connection, width: int, start: int, end: int) -> None:
    table = lead_counts
    connection.execute(delete(table).where(table.c.width == width, table.c.bucket >= start, table.c.bucket < end))


def _write(connection: Connection, numbers: Numbers) -> None:
    rows = [
        {"width": width, "bucket": bucket, "slot": 0, "stored": number}
        for (width, bucket), number in sorted(numbers.items())
    ]
    for start in range(0, len(rows), CHUNK):
        connection.execute(insert(lead_counts), rows[start : start + CHUNK])
