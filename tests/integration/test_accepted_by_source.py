"""schema.queue.accepted_by_source: what a source has sent, of which Redis may lose its numbers."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from ingest_api.intake.append import Verdict
from schema.counts.by_source import SOURCE_WIDTHS
from schema.counts.widths import DAY, HOUR, MICROS
from schema.lead.source import SourceLimits
from schema.queue import accepted_by_source, keys
from schema.queue.accepted_by_source import AcceptedBySource
from tests.integration.backends import Backend
from tests.integration.sources import ACME, END, GLOBEX
from tests.integration.test_source_limits import sent, submit
from workers.upkeep.sweep import Sweep


def fresh(backend: Backend) -> AcceptedBySource:
    epoch = int(backend.client.hget(keys.ACCEPTED, keys.EPOCH_FIELD) or 0)
    return AcceptedBySource.parse(epoch, backend.client.hgetall(keys.SOURCES_ACCEPTED))


def accepted(backend: Backend, source: str = "acme", width: int = DAY, *, redis: bool = False) -> int:
    """Return the accepted leads of a source that the database knows, or the database and Redis together."""
    known = [fresh(backend)] if redis else []
    with backend.engine.connect() as connection:
        return sum(accepted_by_source.by_bucket(connection, known, source, width, 0, END).values())


def sweep(backend: Backend, days: int = 0) -> None:
    """Run the sweep, so many days from now."""
    with time_machine.travel(datetime.now(UTC) + timedelta(days=days), tick=False):
        Sweep(backend.shards, backend.engine, backend.settings).run()


@pytest.fixture
def now() -> int:
    """The present, in microseconds since 1970: what is old leaves Redis with the sweep."""
    return int(datetime.now(UTC).timestamp()) * MICROS


def test_the_sweep_copies_what_sources_have_sent_as_often_as_one_likes(backend: Backend, now: int):
    submit(backend, sent(ACME, now, now - HOUR * MICROS, now + DAY * MICROS), sent(GLOBEX, now))
    sweep(backend)
    submit(backend, sent(ACME, now))

    # What is not copied yet counts too
    assert (accepted(backend), accepted(backend, redis=True)) == (3, 4)
    for _ in range(2):
        sweep(backend)

    for width in SOURCE_WIDTHS:
        assert accepted(backend, width=width) == accepted(backend, width=width, redis=True) == 4
        assert accepted(backend, "globex", width) == 1


def test_what_sources_have_sent_outlives_a_redis_that_loses_its_data(backend: Backend, now: int):
    # Given leads that are counted, and a Redis that then begins anew
    submit(backend, sent(ACME, *[now] * 5))
    sweep(backend)
    backend.client.flushall()
    sweep(backend)
    assert accepted(backend) == 5

    # When leads are accepted in the same day
    submit(backend, sent(ACME, *[now] * 2))
    assert accepted(backend, redis=True) == 7
    sweep(backend)

    # Then they add up
    assert accepted(backend) == accepted(backend, redis=True) == accepted(backend, width=HOUR) == 7


def moved_field(now: int) -> str:
    second = now // MICROS
    return f"{keys.MOVED_MARK}{DAY}:{second - second % DAY}:acme"


def test_old_counts_of_sources_leave_redis_once_they_are_copied(backend: Backend, now: int):
    # Given leads of today, and what a queue that was moved here has left
    submit(backend, sent(ACME, *[now] * 3))
    backend.client.hset(keys.SOURCES_ACCEPTED, moved_field(now), 4)
    sweep(backend)
    assert {each.width for each in fresh(backend).numbers} == {HOUR, DAY}
    assert sum(fresh(backend).moved.values()) == 4

    # When its hours are over, then its days are still needed for the cap
    sweep(backend, days=3)
    assert {each.width for each in fresh(backend).numbers} == {DAY}
    assert sum(fresh(backend).moved.values()) == 4

    # When all are over, then nothing is left there, and nothing is lost
    sweep(backend, days=6)
    assert not backend.client.exists(keys.SOURCES_ACCEPTED)
    assert [accepted(backend, width=width) for width in SOURCE_WIDTHS] == [3, 3]


def test_what_was_moved_here_counts_against_the_cap_alone(backend: Backend, now: int):
    # Given a day of the queue that was moved here, which has copied it
    submit(backend, sent(ACME, now))
    backend.client.hset(keys.SOURCES_ACCEPTED, moved_field(now), 4)

    sweep(backend)

    assert accepted(backend) == accepted(backend, redis=True) == 1
    assert submit(backend, sent(SourceLimits("acme", daily_cap=5), now))[0].source_used == 5


def test_a_cap_goes_on_when_redis_has_lost_its_data(backend: Backend, now: int):
    # Given a source with six of its ten leads of the day, and a Redis that then loses them
    acme = SourceLimits("acme", daily_cap=10)
    submit(backend, sent(acme, *[now] * 6))
    sweep(backend)
    backend.client.flushall()

    # When the next sweep has come, before leads do or after
    submit(backend, sent(acme, now))
    for _ in range(2):
        sweep(backend)

    # Then seven are used, and what is accepted is still counted once
    answers = submit(backend, sent(acme, *[now] * 4), sent(acme, *[now] * 3), sent(acme, now))
    assert [(each.verdict, each.source_used) for each in answers] == [
        (Verdict.SOURCE_CAP, 7),
        (Verdict.APPENDED, 0),
        (Verdict.SOURCE_CAP, 10),
    ]
    sweep(backend)
    assert accepted(backend) == accepted(backend, redis=True) == 10


def test_a_cap_goes_on_when_redis_loses_its_data_again(backend: Backend, now: int):
    acme = SourceLimits("acme", daily_cap=10)
    for number in range(3):
        submit(backend, sent(acme, *[now] * 3))
        sweep(backend)
        backend.client.flushall()
        sweep(backend)
        assert accepted(backend) == 3 * (number + 1)

    assert [each.verdict for each in submit(backend, sent(acme, now, now), sent(acme, now), sent(acme, now))] == [
        Verdict.SOURCE_CAP,
        Verdict.APPENDED,
        Verdict.SOURCE_CAP,
    ]


def test_numbers_of_sources_never_go_down(backend: Backend):
    for number in (5, 3):
        bucket = accepted_by_source.Bucket(DAY, 0, "acme")
        with backend.engine.begin() as connection:
            accepted_by_source.copy(connection, AcceptedBySource(1, {bucket: number}, {}))

    assert accepted(backend) == 5
