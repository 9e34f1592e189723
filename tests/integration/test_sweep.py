"""workers.upkeep.sweep: counts that outlive Redis, keys that are forgotten; and it stores nothing."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import event, func, select

from schema.counts.widths import DAY, HOUR, MINUTE
from schema.database import idempotency
from schema.database.idempotency import Remembered
from schema.database.tables import idempotency_keys
from schema.lead.lead_id import micros_of, new_lead_id
from schema.queue import accepted_counts, keys
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import TICKETS
from tests.integration.backends import Backend
from workers.upkeep.sweep import Sweep

END = 1 << 40  # seconds since 1970, later than all


def sweeper_of(backend: Backend, **changes: int) -> Sweep:
    return Sweep(backend.shards, backend.engine, backend.with_settings(**changes))


def fresh(backend: Backend) -> Accepted:
    return Accepted.parse(backend.client.hgetall(keys.ACCEPTED))


def counted(backend: Backend, width: int = DAY, redis: bool = False) -> dict[int, int]:
    """Return the accepted counts of the database, or of the database and Redis together."""
    known = fresh(backend) if redis else Accepted(0, False, {})
    with backend.engine.connect() as connection:
        return accepted_counts.by_bucket(connection, [known], width, 0, END)


def test_a_sweep_sends_no_ticket_and_stores_nothing(backend: Backend):
    # Given leads that no ticket speaks of, which are for the fallback poller
    backend.accept(35)

    assert sweeper_of(backend, batch_size=10).run() == {"keys": 0, "consumers": 0}
    assert backend.waiting() == 35
    assert not backend.client.exists(TICKETS)


def test_the_counts_of_accepted_leads_are_copied_as_often_as_one_likes(backend: Backend):
    # Given leads accepted before and after a sweep
    ids = backend.accept(3)
    sweeper = sweeper_of(backend)
    sweeper.run()
    ids += backend.accept(4)
    sweeper.run()

    # When nothing comes any more and sweeps go on
    sweeper.run()

    # Then each width sums up to them, whoever is asked
    for width in (DAY, HOUR, MINUTE):
        assert sum(counted(backend, width).values()) == 7
        assert counted(backend, width, redis=True) == counted(backend, width)
    second = micros_of(ids[0]) // 1_000_000
    assert second - second % DAY in counted(backend)


def test_what_is_not_copied_yet_counts_too(backend: Backend):
    backend.accept(3)
    sweeper_of(backend).run()
    backend.accept(2)

    assert sum(counted(backend).values()) == 3
    assert sum(counted(backend, redis=True).values()) == 5


def test_the_counts_outlive_a_redis_that_loses_its_data(backend: Backend):
    # Given leads that are counted, and a Redis that then begins anew
    backend.accept(5)
    sweeper = sweeper_of(backend)
    sweeper.run()
    before = fresh(backend).epoch
    backend.client.flushall()
    sweeper.run()
    assert sum(counted(backend).values()) == 5

    # When leads are accepted in the same day
    backend.accept(2)
    sweeper.run()

    # Then they add up, and only the first epoch was the first
    assert fresh(backend).epoch > before
    assert sum(counted(backend).values()) == 7
    assert not fresh(backend).first


def test_a_redis_that_has_never_lost_anything_is_told_so(backend: Backend):
    backend.accept(1)
    assert not fresh(backend).first

    sweeper_of(backend).run()

    assert fresh(backend).first


def test_numbers_never_go_down(backend: Backend):
    for number in (5, 3):
        with backend.engine.begin() as connection:
            accepted_counts.copy(connection, Accepted(1, True, {(DAY, 0): number, (HOUR, 0): number + 1}))

    assert counted(backend) == {0: 5}
    assert counted(backend, HOUR) == {0: 6}


def test_old_buckets_leave_redis_once_they_are_copied(backend: Backend):
    backend.accept(3)
    sweeper = sweeper_of(backend)

    with time_machine.travel(datetime.now(UTC) + timedelta(days=1, minutes=2), tick=False):
        sweeper.run()

    assert {width for width, _ in fresh(backend).numbers} == {HOUR, DAY}
    with time_machine.travel(datetime.now(UTC) + timedelta(days=5), tick=False):
        sweeper.run()
    assert fresh(backend).numbers == {}
    assert [sum(counted(backend, width).values()) for width in (MINUTE, HOUR, DAY)] == [3, 3, 3]


def test_old_idempotency_keys_are_forgotten(backend: Backend):
    with backend.engine.begin() as connection:
        idempotency.remember(connection, [Remembered(b"k" * 32, b"d" * 32, new_lead_id())])

    def kept() -> int:
        with backend.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(idempotency_keys)).scalar_one())

    sweeper_of(backend, idempotency_ttl=3600).run()
    assert kept() == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=3700), tick=False):
        sweeper_of(backend, idempotency_ttl=3600).run()
    assert kept() == 0


@pytest.mark.destructive("queue")
def test_a_sweep_that_finds_redis_away_ends_quietly_and_the_next_one_works(backend: Backend):
    backend.accept(1)
    sweeper = sweeper_of(backend)
    backend.queue.kill()
    try:
        assert sweeper.run() == {"keys": 0, "consumers": 0, "failed": 4}
    finally:
        backend.queue.start()

    sweeper.run()
    assert sum(counted(backend).values()) == 1


def test_the_sweep_takes_a_few_statements(backend: Backend):
    backend.accept(10)
    statements: list[str] = []
    event.listen(backend.engine, "before_cursor_execute", lambda *each: statements.append(each[2]))

    sweeper_of(backend).run()

    assert 0 < len(statements) <= 5
