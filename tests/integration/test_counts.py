"""schema.counts.lookup: what they say equals what counting and sorting all ids says."""

import bisect
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import OperationalError

from schema.counts import lookup, totals, write
from schema.counts.lookup import BucketCache
from schema.counts.totals import DataVersion
from schema.counts.widths import DAY, HOUR, LEAF_SIZE, MICROS, MINUTE, SLOTS
from schema.database.errors import Reaction, reaction_to
from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import lead_counts, metadata
from schema.lead import lead_id
from tests.integration.backends import Backend, writer
from workers.store import insertion

# 2026-03-01T12:00:00Z, in seconds since 1970.
START = 1_772_366_400

# Clusters around the edges of seconds, minutes, hours and days.
edges = st.sampled_from([0, 1, 59, 60, 61, 3599, 3600, 86399, 86400, 86401, 40 * DAY, 400 * DAY])
moments = st.builds(
    lambda edge, micros: (START + edge) * MICROS + micros, edges, st.integers(0, 3) | st.integers(0, MICROS - 1)
)
batches = st.lists(st.lists(moments, max_size=30), max_size=5)


def rows_at(times: list[int]) -> list[LeadRow]:
    """Return a row of the table `leads` for each time; the numbers keep equal times apart."""
    born = "1990-12-10 00:00:00.000000"
    rest = ("A", "L", "a@b.cd", "+44", born[:10], None, born, born)
    return [LeadRow(lead_id.at(micros, number), *rest) for number, micros in enumerate(times)]


def assert_agrees(connection: Connection, times: list[int], step: int = 1) -> None:
    """Check total, before, by_bucket and locate against the sorted times of all leads, at every `step`-th of them."""
    assert totals.total(connection) == len(times)
    moments = {
        0,
        START * MICROS,
        START * MICROS + 1,
        (START + DAY) * MICROS,
        *times[::step],
        *(each + 1 for each in times[::step]),
    }
    for micros in moments:
        assert lookup.before(connection, micros) == bisect.bisect_left(times, micros)
    for width in (DAY, HOUR, MINUTE):
        expected = Counter(micros // MICROS - micros // MICROS % width for micros in times)
        assert lookup.by_bucket(connection, width, 0, 1 << 40) == expected
    for position, micros in list(enumerate(times))[::step]:
        place = lookup.locate(connection, position)
        assert place is not None
        low, high = lead_id.micros_of(place.first), lead_id.micros_of(place.last)
        start = bisect.bisect_left(times, low)
        assert low <= micros < high
        assert start + place.skip == position
        assert place.stored == bisect.bisect_left(times, high) - start
    assert lookup.locate(connection, len(times)) is None


@pytest.mark.parametrize("leaf", [1, 4, LEAF_SIZE])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=batches,
    slots=st.integers(0, 100),
    dense=st.sampled_from([1, 3, 1000]),
    useful=st.sampled_from([0, 2, 1000]),
)
def test_counts_agree_with_brute_force(
    monkeypatch: pytest.MonkeyPatch, leaf: int, batches: list[list[int]], slots: int, dense: int, useful: int
):
    # Given leads of any times, counted in batches by several workers, some of them in the narrowest buckets too
    monkeypatch.setattr(lookup, "LEAF_SIZE", leaf)
    monkeypatch.setattr(write, "FINE_LEVEL_MIN", dense)
    monkeypatch.setattr(write, "MIN_PER_LEVEL", useful)
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        times = sorted(micros for batch in batches for micros in batch)
        if times:
            insert_rows(connection, rows_at(times))
        for number, batch in enumerate(batches):
            write.add(connection, [lead_id.at(micros) for micros in batch], slots + number)

        # Then total, before, by_bucket and locate say what the sorted list says
        assert_agrees(connection, times)
    engine.dispose()


def test_on_each_backend_the_counts_add_up(backend: Backend):
    ids = [lead_id.at((START + second) * MICROS) for second in (0, 0, 1, 59, 60, 3600, DAY)]
    with backend.engine.begin() as connection:
        write.add(connection, ids[:3], 1)
        write.add(connection, ids[3:], 2)
        write.add(connection, [], 3)
        write.add(connection, ids[:1], 1 + SLOTS)  # the slot of 1 again

    with backend.engine.connect() as connection:
        assert set(connection.execute(select(lead_counts.c.slot)).scalars()) == {1, 2}
        assert totals.version(connection) == DataVersion(total_stored=8, expired=0, revision=0, retention_cutoff=0)
        assert lookup.by_bucket(connection, MINUTE, START, START + HOUR) == {START: 5, START + 60: 1}


def test_a_million_leads_in_one_second_are_reached_in_short_steps(backend: Backend):
    # Given a second with a million leads and a quiet day before it, counted in batches of a thousand
    with backend.engine.begin() as connection:
        write.add(connection, [lead_id.at((START - hour * HOUR) * MICROS) for hour in range(1, 24)], 0)
        for batch in range(1000):
            first = START * MICROS + batch * 1000
            write.add(connection, [lead_id.at(first + number) for number in range(1000)], batch)

    with backend.engine.connect() as connection:
        for position in (23, 500_000, 999_999, 1_000_022):
            place = lookup.locate(connection, position)
            assert place is not None
            assert place.stored <= LEAF_SIZE
            assert lead_id.micros_of(place.first) + place.skip == START * MICROS + position - 23


def test_a_range_takes_its_start_and_leaves_out_its_end(backend: Backend):
    with backend.engine.begin() as connection:
        write.add(connection, [lead_id.at((START + 60 * minute) * MICROS) for minute in range(4)], 0)
        found = lookup.by_bucket(connection, MINUTE, START + 60, START + 180)

    assert found == {START + 60: 1, START + 120: 1}


@pytest.mark.parametrize("same_slot", [True, False])
def test_concurrent_transactions_lose_no_count(backend: Backend, same_slot: bool):
    # Given four workers that count the same seconds at the same time
    ids = [lead_id.at((START + second) * MICROS) for second in (0, 0, 1, 61)]

    def count(slot: int) -> None:
        engine = writer(backend.settings)
        for _ in range(25):
            while not attempt(engine, slot):
                pass
        engine.dispose()

    def attempt(engine: Any, slot: int) -> bool:
        try:
            with engine.begin() as connection:
                write.add(connection, ids, slot)
        except OperationalError as error:
            # As workers.store.batch does.
            if reaction_to(error) is not Reaction.RETRY:
                raise
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(count, 0 if same_slot else number) for number in range(4)]
        for future in futures:
            future.result(60)

    # Then all are counted
    with backend.engine.connect() as connection:
        assert totals.total(connection) == 400
        assert lookup.by_bucket(connection, MINUTE, 0, 1 << 40) == {START: 300, START + 60: 100}


def test_a_crowded_minute_is_led_into_though_batches_reach_beyond_it(backend: Backend):
    # Given leads far apart, 3,000 within one second, and leads far apart again, in batches that take no notice of that
    quiet = [(START + 40 * each) * MICROS for each in range(90)]
    crowd = [quiet[-1] + MICROS + each * 300 for each in range(3000)]
    times = quiet + crowd + [crowd[-1] + 40 * MICROS * each for each in range(1, 90)]
    with backend.engine.connect() as connection:
        for slot, start in enumerate(range(0, len(times), 100)):
            insertion.store(connection, rows_at(times[start : start + 100]), slot)

    # Then any of them is a short way from where the counts lead to
    with backend.engine.connect() as connection:
        for position in range(0, len(times), 50):
            place = lookup.locate(connection, position)
            assert place is not None
            assert place.stored <= LEAF_SIZE
        assert_agrees(connection, times, step=97)


def test_what_is_known_of_a_table_stays_true_while_leads_are_added_anywhere(backend: Backend):
    # Given leads over a year and a crowded minute, and what was known of them at each moment before
    chance = random.Random(7)
    levels = BucketCache()

    def moments(number: int) -> list[int]:
        crowd, year = (START * MICROS, 20 * MICROS), ((START - 300 * DAY) * MICROS, 360 * DAY * MICROS)
        return [first + chance.randrange(span) for first, span in (chance.choice((crowd, year)) for _ in range(number))]

    for slot in range(12):
        # When more come in, early ones and late ones
        with backend.engine.connect() as connection:
            insertion.store(connection, rows_at(sorted(moments(300))), slot)

        # Then it leads to where the counts of now lead to, and reads less
        with backend.engine.connect() as connection:
            version = totals.version(connection)
            for position in range(0, version.total, 61):
                known = levels.of(version)
                assert lookup.locate(connection, position, known) == lookup.locate(connection, position)
    assert levels.of(version)


def test_leads_that_are_removed_leave_nothing_known():
    levels = BucketCache()
    before = DataVersion(total_stored=10, expired=0, revision=0, retention_cutoff=0)
    levels.of(before)[1, 0, 10] = {0: 10}

    assert levels.of(replace(before, total_stored=11)) == {(1, 0, 10): {0: 10}}
    for change in ({"expired": 1}, {"revision": 1}, {"retention_cutoff": 1}):
        assert levels.of(replace(before, **change)) == {}
