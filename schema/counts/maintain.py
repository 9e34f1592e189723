"""Maintains the counts: compacts past minutes, checks the counts against the rows, and rebuilds them.

A batch marks its minutes dirty. Once such a minute is over, `compact_minutes` merges its slots and
removes finer buckets: all of a quiet minute's, and those of a busy minute's whose wider bucket has
at most LEAF_SIZE leads. Late leads make their minute dirty again.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from sqlalchemy import Connection, delete, func, insert, select

from schema.counts import by_source, lookup, totals, write
from schema.counts.widths import DAY, HOUR, LAST_MICROS, LEAF_SIZE, MICROS, MINUTES, SPAN, TENTH_MS, WIDTHS
from schema.database.tables import dirty_minutes, lead_counts, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

# Delay (seconds) between the end of a minute and its compaction, so that most of its leads are stored by then.
COMPACT_AFTER = 60

# Ids read, or rows written, with one statement.
ROWS_AT_ONCE = 10_000

Numbers = dict[tuple[int, int], int]  # leads by width and bucket

# In place of a width: the total.
ALL_TIME = 0

_BELOW = tuple(width for width in WIDTHS if width < MINUTES)
_ABOVE = dict(pairwise(reversed(WIDTHS)))  # width to the next wider one


def due(connection: Connection, limit: int, now: float | None = None) -> list[int]:
    """Return at most `limit` dirty minutes that are due for compaction, as first microseconds, oldest first."""
    end = int(((time.time() if now is None else now) - COMPACT_AFTER) * MICROS) - MINUTES
    table = dirty_minutes
    query = select(table.c.minute).where(table.c.minute <= end)
    query = query.group_by(table.c.minute).order_by(table.c.minute).limit(limit)
    return [int(bucket) for bucket in connection.execute(query).scalars()]


def compact_minutes(connection: Connection, minutes: Sequence[int]) -> None:
    """Compact dirty minutes in the open transaction; `minutes` ascend."""
    table = lead_counts
    # First, so that a batch that adds to one of them later makes it dirty again.
    connection.execute(delete(dirty_minutes).where(dirty_minutes.c.minute.in_(minutes)))
    query = (
        select(table.c.bucket, func.sum(table.c.stored), func.max(table.c.slot))
        .where(table.c.width == MINUTES, table.c.bucket >= minutes[0], table.c.bucket <= minutes[-1])
        .group_by(table.c.bucket)
        .order_by(table.c.bucket)
    )
    start = minutes[0]
    dirty = set(minutes)
    for minute, number, slot in connection.execute(query).all():
        if number > LEAF_SIZE:
            _remove_below(connection, start, minute)
            start = minute + MINUTES
            if minute in dirty:
                _compact_busy_minute(connection, minute)
        elif slot and minute in dirty:
            merge_slots(connection, MINUTES, minute)
    _remove_below(connection, start, minutes[-1] + MINUTES)


def _remove_below(connection: Connection, start: int, end: int) -> None:
    """Remove the buckets below the quiet minutes of [start, end)."""
    if start < end:
        for width in _BELOW:
            _remove(connection, width, start, end)


def _compact_busy_minute(connection: Connection, minute: int) -> None:
    """Compact a minute of more than LEAF_SIZE leads. Workers that store leads of it block until COMMIT."""
    table = lead_counts
    write.lock_minute(connection, minute)
    merge_slots(connection, MINUTES, minute)
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
    connection.execute(delete(dirty_minutes).where(dirty_minutes.c.minute == minute))


def compact_slots(connection: Connection, now: float | None = None) -> None:
    """Merge the slots of past hours, days and 32-day spans, in the open transaction."""
    table = lead_counts
    end = int(((time.time() if now is None else now) - COMPACT_AFTER) * MICROS)
    for width in (SPAN, DAY * MICROS, HOUR * MICROS):
        query = select(table.c.bucket).where(table.c.width == width, table.c.bucket < end - width, table.c.slot > 0)
        for bucket in connection.execute(query.distinct()).scalars().all():
            merge_slots(connection, width, int(bucket))


def merge_slots(connection: Connection, width: int, bucket: int) -> None:
    """Merge a bucket's slots into one row. A slot that another transaction adds meanwhile stays."""
    table = lead_counts
    here = (table.c.width == width, table.c.bucket == bucket)
    rows = connection.execute(select(table.c.slot, table.c.stored).where(*here).with_for_update()).all()
    if any(row.slot for row in rows):
        connection.execute(delete(table).where(*here, table.c.slot.in_([row.slot for row in rows])))
        write.upsert(connection, {(width, bucket): sum(row.stored for row in rows)})


def differences(connection: Connection) -> Iterator[tuple[int, int, int, int]]:
    """Yield width, first microsecond, counted leads and rows of each bucket in which the last two differ.

    The width of the total is ALL_TIME. Buckets below a minute may be missing or too low, but
    never too high.

    Reads every id: for checks, never for requests.
    """
    rows: Numbers = {}
    there = _all(connection)
    for _, numbers in _by_minute(connection, 0, LAST_MICROS):
        for key, number in _sums(numbers).items():
            if key[0] >= MINUTES:
                rows[key] = rows.get(key, 0) + number
            elif (counted := there.pop(key, 0)) > number:
                yield *key, counted, number
    for key in sorted({*rows, *there}):
        if there.get(key, 0) != rows.get(key, 0):
            yield *key, there.get(key, 0), rows.get(key, 0)
    number = sum(number for (width, _), number in rows.items() if width == SPAN)
    total = totals.total(connection)
    if total != number:
        yield ALL_TIME, 0, total, number


def rebuild(connection: Connection) -> int:
    """Rebuild all counts from the rows, in the open transaction; return the number of rows.

    Blocks all workers meanwhile; they wait for the locks, and retry on a timeout.
    """
    # In the order in which writers lock the tables.
    connection.execute(delete(dirty_minutes))
    totals.lock(connection)
    before = totals.version(connection)
    # With what a worker of release 0.1 has left there after migration 0015.
    connection.execute(delete(lead_counts))
    for counts in by_source.KINDS:
        counts.remove_all(connection)
    number = recount(connection, 0, LAST_MICROS)
    after = replace(before, total_stored=number + before.expired + before.erased, revision=before.revision + 1)
    totals.replace(connection, after)
    return number


def recount(connection: Connection, start: int, end: int) -> int:
    """Add the rows of [start, end), in microseconds, to the buckets, which must not count them yet; return how many."""
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
    for counts in by_source.KINDS:
        counts.recount(connection, start, min(end, LAST_MICROS))
    return total


def subtract_expired(connection: Connection, end: int) -> int:
    """Subtract all leads before `end` (microseconds since 1970, a midnight) from the counts; return how many."""
    days = lookup.by_bucket(connection, DAY, 0, end // MICROS)
    number = sum(days.values())
    straddling = end - end % SPAN
    inside = sum(each for first, each in days.items() if first * MICROS >= straddling)
    # In the order in which writers lock the tables.
    connection.execute(delete(dirty_minutes).where(dirty_minutes.c.minute < end))
    totals.add(connection, expired=number)
    for width in WIDTHS[1:]:
        _remove(connection, width, 0, end)
    _remove(connection, SPAN, 0, straddling)
    if number:
        write.upsert(connection, {(SPAN, straddling): -inside})
    for counts in by_source.KINDS:
        counts.remove_before(connection, end)
    return number


def _count(connection: Connection, start: int, end: int) -> Counter[int]:
    """Count the rows of [start, end) by finest bucket."""
    found: Counter[int] = Counter()
    for _, numbers in _by_minute(connection, start, end):
        found.update(numbers)
    return found


def _by_minute(connection: Connection, start: int, end: int) -> Iterator[tuple[int, Counter[int]]]:
    """Yield each minute that has rows, in order, with their number by finest bucket."""
    minute, numbers = -1, Counter[int]()
    for each in _ids(connection, lead_id.at(start), lead_id.at(min(end, LAST_MICROS))):
        micros = lead_id.micros_of(each)
        if micros - micros % MINUTES != minute:
            if numbers:
                yield minute, numbers
            minute, numbers = micros - micros % MINUTES, Counter()
        numbers[micros - micros % TENTH_MS] += 1
    if numbers:
        yield minute, numbers


def _ids(connection: Connection, first: LeadId, last: LeadId) -> Iterator[LeadId]:
    statement = select(leads.c.id).where(leads.c.id < last).order_by(leads.c.id).limit(ROWS_AT_ONCE)
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
    """Return the buckets that `locate` may read: minutes and wider, and finer ones in buckets above LEAF_SIZE leads."""
    return {
        (width, bucket): number
        for (width, bucket), number in numbers.items()
        if width >= MINUTES or numbers.get((_ABOVE[width], bucket - bucket % _ABOVE[width]), 0) > LEAF_SIZE
    }


def _is_complete(numbers: Numbers) -> bool:
    """Tell whether the finer buckets add up in each bucket above LEAF_SIZE leads, from minutes down."""
    sums: Counter[tuple[int, int]] = Counter()
    for (width, bucket), number in numbers.items():
        if width < MINUTES:
            sums[_ABOVE[width], bucket - bucket % _ABOVE[width]] += number
    return all(
        sums[width, bucket] == number
        for (width, bucket), number in numbers.items()
        if TENTH_MS < width <= MINUTES and number > LEAF_SIZE
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
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.execute(insert(lead_counts), rows[start : start + ROWS_AT_ONCE])
