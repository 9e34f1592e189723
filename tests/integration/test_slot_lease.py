"""workers.store.slot_lease: processes on any number of hosts add to different rows of the counts."""

from dataclasses import dataclass
from unittest.mock import patch

import redis
from sqlalchemy import select

from schema.counts.widths import SLOTS
from schema.database.tables import lead_totals
from schema.queue.keys import SLOT_PREFIX
from schema.runtime.redis_clients import ShardClient
from schema.settings.shards import WHOLE
from tests.integration.backends import Backend
from tests.integration.workers import Worker
from workers.store.slot_lease import LEASE, RENEWAL, SlotLease


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def leases(backend: Backend, number: int, clock: Clock | None = None) -> list[SlotLease]:
    return [SlotLease(backend.first, f"holder {each}", clock or Clock()) for each in range(number)]


def test_processes_with_the_same_number_have_different_slots(backend: Backend):
    # Given workers in containers, where each has the process id of every other
    with patch("os.getpid", return_value=1):
        workers = [Worker(backend) for _ in range(3)]

    # When each stores
    for worker in workers:
        backend.accept(2)
        assert worker.run()["stored"] == 2

    # Then each has added to a row of its own
    with backend.engine.connect() as connection:
        rows = connection.execute(select(lead_totals.c.slot, lead_totals.c.total_stored)).all()
    assert sorted(map(tuple, rows)) == [(0, 2), (1, 2), (2, 2)]
    backend.assert_counted()


def test_a_slot_is_kept_while_it_is_renewed(backend: Backend):
    clock = Clock()
    first, second = leases(backend, 2, clock)
    assert (first.slot(), second.slot()) == (0, 1)

    for _ in range(5):
        backend.client.pexpire(f"{SLOT_PREFIX}0", 5000)
        clock.now += RENEWAL
        assert (first.slot(), second.slot()) == (0, 1)
        assert 5000 < backend.client.pttl(f"{SLOT_PREFIX}0") <= LEASE * 1000


def test_the_slot_of_a_dead_process_is_taken_over(backend: Backend):
    dead, alive, new = leases(backend, 3)
    assert (dead.slot(), alive.slot()) == (0, 1)

    backend.client.delete(f"{SLOT_PREFIX}0")  # as when its life is over

    assert new.slot() == 0


def test_who_was_away_for_longer_than_its_lease_takes_another_slot(backend: Backend):
    clock = Clock()
    paused, other = leases(backend, 2, clock)
    assert paused.slot() == 0
    backend.client.delete(f"{SLOT_PREFIX}0")
    assert other.slot() == 0

    clock.now += RENEWAL

    assert (paused.slot(), other.slot()) == (1, 0)


def test_more_processes_than_slots_share_them(backend: Backend):
    assert {each.slot() for each in leases(backend, SLOTS)} == set(range(SLOTS))

    assert leases(backend, 1)[0].slot() in range(SLOTS)


def test_without_redis_any_slot_is_right(backend: Backend):
    lease = SlotLease(ShardClient(WHOLE, redis.Redis(host="127.0.0.1", port=1)), "alone")

    assert lease.slot() in range(SLOTS)
