"""schema.counts.maintain: quiet minutes get small, busy ones stay quick, and at no moment a number is wrong."""

import random
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, func, select, update

from schema.counts import lookup, maintain, totals
from schema.counts.totals import DataVersion
from schema.counts.widths import CENTISECOND, DAY, LEAF_SIZE, MICROS, MINUTES, SECOND, TENTH_MS
from schema.database.tables import dirty_minutes, lead_counts, leads
from schema.lead import lead_id
from tests.integration.backends import Backend, servers_only
from tests.integration.test_counts import START, assert_agrees, rows_at
from tests.integration.test_database_trouble import blocked
from tests.kit.servers import until
from workers.store import insertion

LATER = START + 3600.0


def store(backend: Backend, times: list[int], slot: int = 0) -> None:
    with backend.engine.connect() as connection:
        for start in range(0, len(times), 1000):
            insertion.store(connection, rows_at(times)[start : start + 1000], slot + start)


def compact_minutes(backend: Backend) -> int:
    """Put in order what is due; return how many minutes that were."""
    with backend.engine.begin() as connection:
        minutes = maintain.due(connection, 1000, LATER)
        if minutes:
            maintain.compact_minutes(connection, minutes)
    return len(minutes)


def rows(connection: Connection, *widths: int) -> int:
    query = select(func.count()).select_from(lead_counts).where(lead_counts.c.width.in_(widths))
    return int(connection.execute(query).scalar_one())


def quiet_times() -> list[int]:
    """Return ten leads in each of twenty minutes."""
    dice = random.Random(3)
    return sorted(
        START * MICROS + minute * MINUTES + dice.randrange(MINUTES) for minute in range(20) for _ in range(10)
    )


def test_a_quiet_time_keeps_no_row_below_a_minute(backend: Backend):
    times = quiet_times()
    store(backend, times[:100], 1)
    store(backend, times[100:], 2)

    assert compact_minutes(backend) == 20

    with backend.engine.connect() as connection:
        assert rows(connection, SECOND * MICROS, CENTISECOND, TENTH_MS) == 0
        assert connection.execute(select(dirty_minutes)).first() is None
        assert rows(connection, MINUTES) == 20
        assert_agrees(connection, times)
    assert compact_minutes(backend) == 0


def test_a_busy_minute_keeps_what_leads_to_a_leaf(backend: Backend):
    # Given 2,000 leads within two hundredths of a second, stored by workers that each took a part of them
    dice = random.Random(4)
    times = sorted(dice.sample(range(START * MICROS, START * MICROS + 20_000), 2000))
    for number in range(4):
        store(backend, times[number::4], number)

    assert compact_minutes(backend) == 1

    with backend.engine.connect() as connection:
        for position in (0, 999, 1999):
            place = lookup.locate(connection, position)
            assert place is not None
            assert place.stored <= LEAF_SIZE
        assert lookup.before(connection, times[1500]) == 1500
        assert {slot for (slot,) in connection.execute(select(lead_counts.c.slot).where(lead_counts.c.width > 0))} == {
            *range(4)
        }, "hours are not over yet"
    with backend.engine.begin() as connection:
        maintain.compact_slots(connection, START + 40.0 * DAY)
        query = select(lead_counts.c.slot).where(lead_counts.c.width > 0).distinct()
        assert connection.execute(query).scalars().all() == [0]
    backend.assert_counted()


def test_leads_that_arrive_late_are_counted_and_their_minute_is_put_in_order_again(backend: Backend):
    times = quiet_times()
    store(backend, times)
    compact_minutes(backend)

    # When 600 leads of a second in a minute that was put in order arrive late
    late = list(range((START + 5) * MICROS, (START + 5) * MICROS + 600))
    store(backend, late, 3)

    # Then all is right at once, and after they were put in order
    with backend.engine.connect() as connection:
        assert_agrees(connection, sorted(times + late), step=23)
    assert compact_minutes(backend) == 1
    with backend.engine.connect() as connection:
        assert_agrees(connection, sorted(times + late), step=23)
        place = lookup.locate(connection, 300)
        assert place is not None
        assert place.stored <= LEAF_SIZE


def test_a_minute_that_is_not_over_is_left_alone(backend: Backend):
    store(backend, [START * MICROS])

    with backend.engine.connect() as connection:
        assert maintain.due(connection, 10, START + 60.0 + maintain.COMPACT_AFTER - 1) == []
        assert maintain.due(connection, 10, START + 60.0 + maintain.COMPACT_AFTER) == [START * MICROS]


@pytest.mark.parametrize("spoil", ["rows", "counts", "seconds"])
def test_what_was_changed_behind_the_back_is_found_and_mended(backend: Backend, spoil: str):
    times = quiet_times()
    for start in range(0, len(times), 10):
        store(backend, times[start : start + 10])
    with backend.engine.begin() as connection:
        if spoil == "rows":
            connection.execute(delete(leads).where(leads.c.id == rows_at(times)[7].id))
            del times[7]
        elif spoil == "counts":
            connection.execute(update(lead_counts).where(lead_counts.c.width == MINUTES).values(stored=3))
        else:
            connection.execute(update(lead_counts).where(lead_counts.c.width == SECOND * MICROS).values(stored=99))
        before = totals.version(connection)

    with backend.engine.begin() as connection:
        assert list(maintain.differences(connection)) != []
        assert maintain.rebuild(connection) == len(times)

    with backend.engine.connect() as connection:
        assert list(maintain.differences(connection)) == []
        assert totals.version(connection) == DataVersion(len(times), 0, 1, 0) != before
        assert_agrees(connection, times)


def test_expired_days_leave_the_total_and_stay_in_the_sum_of_all(backend: Backend):
    # Given leads of eighty days
    first = START - START % DAY
    times = [(first + day * DAY + 7) * MICROS for day in range(80) for _ in range(2)]
    store(backend, times)

    # When the counts of all but the last thirty expire, and the rows with them
    end = (first + 50 * DAY) * MICROS
    with backend.engine.begin() as connection:
        assert maintain.subtract_expired(connection, end) == 100
        connection.execute(delete(leads).where(leads.c.id < lead_id.at(end)))

    with backend.engine.connect() as connection:
        assert totals.version(connection) == DataVersion(total_stored=160, expired=100, revision=0, retention_cutoff=0)
        assert_agrees(connection, times[100:])
    backend.assert_counted()


@servers_only
def test_whoever_stores_leads_of_a_minute_waits_until_it_is_compacted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    # Given a busy minute, and a process that is at compacting it
    times = [START * MICROS + number for number in range(600)]
    store(backend, times)
    needed = maintain._needed
    with ThreadPoolExecutor(1) as thread:
        storing: list[Future[None]] = []

        # When a lead of it is stored behind the reading of its buckets
        def store_and_go_on(numbers: maintain.Numbers) -> maintain.Numbers:
            storing.append(thread.submit(store, backend, [START * MICROS + 1000], 1))
            until(lambda: blocked(backend) or storing[0].done())
            return needed(numbers)

        monkeypatch.setattr(maintain, "_needed", store_and_go_on)
        assert compact_minutes(backend) == 1
        storing[0].result(30)

    # Then the minute is compacted once more, and its buckets lead to any lead
    monkeypatch.undo()
    assert compact_minutes(backend) == 1
    with backend.engine.connect() as connection:
        place = lookup.locate(connection, 300)
        assert place is not None
        assert place.stored <= LEAF_SIZE
        assert_agrees(connection, [*times, START * MICROS + 1000], step=97)


@servers_only
def test_a_count_that_is_added_while_slots_are_merged_is_kept(backend: Backend):
    # Given a minute with two slots, and a process that merges them
    for slot in range(2):
        store(backend, [START * MICROS + slot], slot)
    with ThreadPoolExecutor(1) as thread:
        storing: list[Future[None]] = []

        # When a lead is counted behind the reading of the slots
        def store_and_go_on(*arguments: Any) -> None:
            if arguments[2].startswith("DELETE"):
                storing.append(thread.submit(store, backend, [START * MICROS + 2], 1))
                until(lambda: blocked(backend) or storing[0].done())

        with backend.engine.begin() as connection:
            event.listen(connection, "before_cursor_execute", store_and_go_on)
            maintain.merge_slots(connection, MINUTES, START * MICROS)
        storing[0].result(30)

    # Then it is in the counts
    backend.assert_counted()


def test_rows_at_keeps_equal_times_apart():
    found: list[Any] = [row.id for row in rows_at([START * MICROS] * 3)]

    assert sorted(set(found)) == found
