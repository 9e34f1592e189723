"""schema.counts: what they say equals what counting and sorting all ids says."""

import bisect
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from schema import counts, lead_id
from schema.counts import DAY, HOUR, MINUTE, SECOND
from schema.database import Reaction, reaction_to
from schema.tables import metadata
from tests.integration.backends import Backend, writer

MICROS = 1_000_000
# 2026-03-01T12:00:00Z, in seconds since 1970.
START = 1_772_366_400

# Clusters around the edges of seconds, minutes, hours and days.
edges = st.sampled_from([0, 1, 59, 60, 61, 3599, 3600, 86399, 86400, 86401, 40 * DAY, 400 * DAY])
moments = st.builds(
    lambda edge, micros: (START + edge) * MICROS + micros, edges, st.integers(0, 3) | st.integers(0, MICROS - 1)
)
batches = st.lists(st.lists(moments, max_size=30), max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches, slots=st.integers(0, 100))
def test_counts_agree_with_brute_force(batches: list[list[int]], slots: int):
    # Given leads of any times, counted in batches by several workers
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for number, batch in enumerate(batches):
            counts.add(connection, [lead_id.at(micros) for micros in batch], slots + number)
        times = sorted(micros for batch in batches for micros in batch)

        # Then total, before, by_bucket and locate say what the sorted list says
        assert counts.total(connection) == len(times)
        for second in {0, START, START + 1, START + 60, START + DAY, *(micros // MICROS for micros in times)}:
            assert counts.before(connection, second) == bisect.bisect_left(times, second * MICROS)
        for width in (DAY, HOUR, MINUTE, SECOND):
            expected = Counter(micros // MICROS - micros // MICROS % width for micros in times)
            assert counts.by_bucket(connection, width, 0, 1 << 40) == expected
        for position, micros in enumerate(times):
            place = counts.locate(connection, position)
            assert place is not None
            low, high = lead_id.micros_of(place.first), lead_id.micros_of(place.last)
            start = bisect.bisect_left(times, low)
            assert low <= micros < high == low + MICROS
            assert start + place.skip == position
            assert place.stored == bisect.bisect_left(times, high) - start
        assert counts.locate(connection, len(times)) is None
    engine.dispose()


def test_on_each_backend_the_counts_add_up(backend: Backend):
    ids = [lead_id.at((START + second) * MICROS) for second in (0, 0, 1, 59, 60, 3600, DAY)]
    with backend.engine.begin() as connection:
        counts.add(connection, ids[:3], 1)
        counts.add(connection, ids[3:], 2)
        counts.add(connection, [], 3)
        counts.add(connection, ids[:1], 9)  # the slot of 1 again

    with backend.engine.connect() as connection:
        assert counts.total(connection) == 8
        assert counts.by_bucket(connection, MINUTE, START, START + HOUR) == {START: 5, START + 60: 1}
        assert counts.before(connection, START + 60) == 5
        place = counts.locate(connection, 4)
        assert place is not None
        assert (place.first, place.skip, place.stored) == (lead_id.at((START + 59) * MICROS), 0, 1)


def test_a_range_takes_its_start_and_leaves_out_its_end(backend: Backend):
    with backend.engine.begin() as connection:
        counts.add(connection, [lead_id.at((START + 60 * minute) * MICROS) for minute in range(4)], 0)
        found = counts.by_bucket(connection, MINUTE, START + 60, START + 180)

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
                counts.add(connection, ids, slot)
        except OperationalError as error:
            # As workers.storing does.
            if reaction_to(error) is not Reaction.AGAIN:
                raise
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(count, 0 if same_slot else number) for number in range(4)]
        for future in futures:
            future.result(60)

    # Then all are counted
    with backend.engine.connect() as connection:
        assert counts.total(connection) == 400
        assert counts.by_bucket(connection, SECOND, 0, 1 << 40) == {START: 200, START + 1: 100, START + 61: 100}
