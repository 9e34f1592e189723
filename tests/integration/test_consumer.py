"""workers.store.consumer: who has which leads, what happens when the group is gone, and many at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine

from schema.lead.lead_id import LeadId
from schema.queue import keys
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.store.batch import NEVER_FINISHED
from workers.store.consumer import CLAIM_CHECK_INTERVAL, Consumer


def test_two_consumers_never_hold_the_same_lead(backend: Backend):
    backend.accept(10)
    first, second = Worker(backend, claim_after=3600.0), Worker(backend, claim_after=3600.0)

    claimed = [*first.consumer.claim_and_read(6).entries, *second.consumer.claim_and_read(6).entries]

    assert len({entry.name for entry in claimed}) == len(claimed) == 10


def test_leads_are_read_in_the_order_in_which_they_were_accepted(backend: Backend):
    ids = backend.accept(10)

    claimed = Worker(backend).consumer.claim_and_read(10)

    assert [entry.row().id for entry in claimed.entries] == ids


def leave(backend: Backend, number: int) -> list[LeadId]:
    """Let a worker read so many leads and die, and wait until they may be claimed after a tenth of a second."""
    ids = backend.accept(number)
    Worker(backend).consumer.claim_and_read(number)
    until(lambda: backend.client.xpending_range(keys.STREAM, keys.GROUP, "-", "+", 1, idle=200))
    return ids


def test_left_leads_are_claimed_before_new_ones_are_read(backend: Backend):
    ids = leave(backend, 3)
    backend.accept(3)

    claimed = Worker(backend, claim_after=0.1).consumer.claim_and_read(3)

    assert [entry.row().id for entry in claimed.entries] == ids


def test_left_and_new_leads_together_are_no_more_than_asked_for(backend: Backend):
    ids = leave(backend, 2)
    ids += backend.accept(5)

    claimed = Worker(backend, claim_after=0.1).consumer.claim_and_read(3)

    assert [entry.row().id for entry in claimed.entries] == ids[:3]


def test_a_lead_is_claimed_no_earlier_than_it_may_be(backend: Backend):
    backend.accept(3)
    Worker(backend).consumer.claim_and_read(3)

    assert len(Worker(backend, claim_after=3600.0).consumer.claim_and_read(3)) == 0


def test_a_process_looks_now_and_then_for_what_others_left(backend: Backend):
    # Given a process that has looked, and leads that another one left since
    now = 100.0
    worker = Worker(backend, partial(Consumer, clock=lambda: now), claim_after=20.0).consumer
    other = Worker(backend, claim_after=20.0).consumer
    assert len(worker.claim_and_read(3)) == 0
    backend.accept(3)
    other.give_back(other.claim_and_read(3).entries)

    # Then it looks again when it is time, and not before
    now += CLAIM_CHECK_INTERVAL * 0.9
    assert len(worker.claim_and_read(3)) == 0
    now += CLAIM_CHECK_INTERVAL * 0.2
    assert len(worker.claim_and_read(3)) == 3


def test_what_a_process_leaves_it_finds_at_once(backend: Backend):
    backend.accept(3)
    consumer = Worker(backend, claim_after=20.0).consumer
    claimed = consumer.claim_and_read(3).entries
    consumer.give_back(claimed)

    assert consumer.claim_and_read(3).entries == claimed


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_that_differ_by_an_hour_do_no_harm(backend: Backend, hours: int):
    # Given leads of an API host whose clock is wrong, left by a worker
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
        wrong = backend.accept(2)
    right = backend.accept(2)
    Worker(backend).consumer.claim_and_read(4)

    # When another worker, whose clock is wrong the other way, looks
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=hours)):
        too_early = len(Worker(backend, claim_after=3600.0).consumer.claim_and_read(4))
        until(lambda: Worker(backend, claim_after=0.1).drain(backend))

    # Then it claims by the time that Redis counts, and stores each once
    assert too_early == 0
    assert backend.stored() == {*wrong, *right}
    backend.assert_counted()


def test_a_lost_group_is_made_again_and_no_waiting_lead_is_forgotten(backend: Backend):
    # Given leads of which some were read when the group was destroyed
    ids = backend.accept(5)
    worker = Worker(backend)
    worker.consumer.claim_and_read(2)
    backend.client.xgroup_destroy(keys.STREAM, keys.GROUP)

    # When a ticket is fetched
    worker.run()

    # Then all are stored at once
    assert backend.stored() == set(ids)
    assert (backend.waiting(), backend.pending()) == (0, 0)


def test_after_redis_lost_everything_new_leads_are_stored(backend: Backend):
    worker = Worker(backend)
    backend.accept(2)
    worker.run()
    backend.client.flushall()

    ids = backend.accept(2)
    worker.run()

    assert backend.stored().issuperset(ids)
    backend.assert_counted()


def test_leads_acknowledged_after_the_group_was_lost_are_not_stored_twice(backend: Backend):
    # Given a batch that was read before the group was lost, and is stored after
    ids = backend.accept(3)
    slow, quick = Worker(backend), Worker(backend)
    claimed = slow.consumer.claim_and_read(3)
    backend.client.xgroup_destroy(keys.STREAM, keys.GROUP)
    quick.run()

    slow.consumer.acknowledge(claimed.entries, ids)

    assert backend.stored() == set(ids)
    assert backend.waiting() == 0
    backend.assert_counted()


def test_an_entry_that_was_delivered_too_often_is_a_dead_letter(backend: Backend):
    # Given a lead whose workers die, one after the other
    [lead] = backend.accept(1)
    changes = {"deliveries_alone": 2, "deliveries_max": 3, "claim_after": 0.1}
    for _ in range(3):
        until(lambda: len(Worker(backend, **changes).consumer.claim_and_read(10)))

    # When the next one comes
    worker = Worker(backend, **changes)
    until(lambda: worker.drain(backend))

    # Then it does not try
    assert backend.stored() == set()
    assert backend.dead() == {lead: NEVER_FINISHED}


def test_an_entry_is_tried_as_often_as_it_may_be_delivered(backend: Backend):
    # Given a lead whose workers die, one after the other
    backend.accept(1)
    changes = {"deliveries_alone": 2, "deliveries_max": 3, "claim_after": 0.1}
    tries = 0
    while not until(lambda: Worker(backend, **changes).consumer.claim_and_read(10)).exhausted:
        tries += 1

    assert tries == 3


def test_a_lead_that_is_tried_alone_and_given_back_is_tried_alone_again(backend: Backend):
    # Given a lead that was delivered so often that it is tried alone, and may be delivered this once
    backend.accept(1)
    consumer = Worker(backend, deliveries_alone=2, deliveries_max=3, claim_after=0.1).consumer
    alone = until(lambda: consumer.claim_and_read(10).retry_alone)

    # When the database is away, again and again
    for _ in range(3):
        consumer.give_back([], alone)

        # Then it is tried alone still, and is no dead letter
        assert consumer.claim_and_read(10).retry_alone == alone


def test_an_entry_is_dead_lettered_once_whoever_comes_second(backend: Backend):
    [lead] = backend.accept(1)
    first, second = Worker(backend), Worker(backend)
    [entry] = first.consumer.claim_and_read(1).entries

    assert first.consumer.dead_letter(entry, "first")
    assert not second.consumer.dead_letter(entry, "second")

    assert backend.dead() == {lead: "first"}
    assert (backend.waiting(), backend.pending()) == (0, 0)


def test_many_workers_at_once_store_each_lead_once(backend: Backend):
    # Given two thousand leads, some of which are refused, and four workers
    backend.refuse(POISON)
    names = Counter()
    checked = []
    for number in range(2000):
        name = POISON if number % 500 == 0 else "Ada"
        names[name] += 1
        checked.append(fields_of(number, firstName=name))
    for start in range(0, 2000, 500):
        backend.accept_all(checked[start : start + 500])

    # When they all work at the same time
    def work() -> Counter[str]:
        worker, sums = Worker(backend, batch_size=100), Counter[str]()
        while backend.waiting():
            sums.update(worker.run())
        return sums

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(work) for _ in range(4)]
        sums = sum((future.result(60) for future in futures), Counter[str]())

    # Then every lead is once in the books
    assert sums["stored"] == len(backend.stored()) == names["Ada"]
    assert sums["dead"] == len(backend.dead()) == names[POISON]
    backend.assert_counted()
    assert backend.pending() == 0
