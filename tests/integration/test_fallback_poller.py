"""workers.store.fallback_poller: a Redis that is out of memory, with no ticket in it, is drained all the same."""

import pytest
import redis

from schema.queue import keys
from tests.integration.backends import POISON, Backend, servers_only
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.store import storing
from workers.store.fallback_poller import FallbackPoller


def poller(backend: Backend) -> FallbackPoller:
    return FallbackPoller(backend.shards, backend.client, Worker(backend, batch_size=10).storing)


def test_a_full_redis_without_tickets_is_drained(backend: Backend):
    # Given leads that wait in a Redis that takes nothing more, so no ticket either
    ids = backend.accept(1)
    # Reading makes the group, which takes memory: it is there since the first batch.
    Worker(backend).run()
    ids += backend.accept(34)
    backend.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            backend.client.rpush(keys.TICKETS, "a ticket")

        # When a process looks by itself, and finds them waiting at its second look, too
        process = poller(backend)
        assert process.poll() == 0
        leads = process.poll()
    finally:
        backend.client.config_set("maxmemory", 0)

    # Then each lead is stored once, and nothing waits
    assert leads == 34
    assert backend.stored() == set(ids)
    assert (backend.waiting(), backend.pending()) == (0, 0)
    assert backend.client.hlen(keys.INDEX) == 0


def test_leads_whose_ticket_no_worker_fetches_are_stored(backend: Backend):
    # Given a ticket that waits, and workers that have lost the broker
    backend.accept(3)
    backend.client.rpush(keys.TICKETS, "a ticket")
    process = poller(backend)

    assert [process.poll(), process.poll()] == [0, 3]


def test_the_rest_is_left_to_a_ticket_that_waits(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storing, "TICKET_TIME_BUDGET", 0)
    backend.accept(25)
    backend.client.rpush(keys.TICKETS, "a ticket")
    process = poller(backend)

    assert [process.poll(), process.poll()] == [0, 10]
    assert backend.waiting() == 15


def test_others_may_store_everything_between_two_of_its_commands(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a poller that saw leads wait
    backend.accept(3)
    process = poller(backend)
    assert process.poll() == 0

    # When a ticket stores them behind the first thing that it asks for at its next look
    ask = backend.client.execute_command

    def ask_and_store(*command: object, **options: object) -> object:
        monkeypatch.undo()
        answer = ask(*command, **options)
        Worker(backend).run()
        return answer

    monkeypatch.setattr(backend.client, "execute_command", ask_and_store)

    # Then there is nothing to do for it, now or later
    assert [process.poll(), process.poll()] == [0, 0]
    assert backend.waiting() == 0


def test_what_came_since_the_last_look_is_left_to_a_ticket(backend: Backend):
    # Given a poller that saw leads wait
    backend.accept(3)
    process = poller(backend)
    assert process.poll() == 0

    # When a ticket stored them, and others came
    Worker(backend).run()
    backend.accept(2)

    # Then those are stored when they wait at another look, too
    assert process.poll() == 0
    assert backend.waiting() == 2
    assert process.poll() == 2
    assert backend.waiting() == 0


def test_leads_whose_ticket_was_lost_are_stored(backend: Backend):
    # Given leads that no ticket speaks of: the API was killed before it sent one, or a worker before it began
    ids = backend.accept(25)
    process = poller(backend)

    assert process.poll() == 0
    assert process.poll() == 25
    assert backend.stored() == set(ids)


def test_what_a_dead_worker_left_is_claimed_without_a_ticket(backend: Backend):
    # Given a worker that read leads and is gone, and nothing that comes after them
    ids = backend.accept(3)
    Worker(backend).consumer.claim_and_read(3)
    process = FallbackPoller(backend.shards, backend.client, Worker(backend, claim_after=0.1).storing)

    until(process.poll)

    assert backend.stored() == set(ids)
    assert backend.pending() == 0


@servers_only
def test_after_an_outage_in_which_all_tickets_were_used_up_the_backlog_is_drained(backend: Backend):
    # Given a database that is away while the tickets come
    ids = backend.accept(25)
    worker = Worker(backend, batch_size=10)
    backend.database.kill()
    try:
        for _ in range(3):
            worker.run()
    finally:
        backend.database.start()
    assert not backend.client.exists(keys.TICKETS)

    # When it is back
    process = poller(backend)
    until(process.poll, within=60)

    assert backend.stored() == set(ids)
    backend.assert_counted()


def test_it_ends_when_nothing_can_be_stored(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a database that refuses every lead
    backend.refuse(POISON)
    backend.accept(20, firstName=POISON)
    worker = Worker(backend)
    process = FallbackPoller(backend.shards, backend.client, worker.storing)
    assert process.poll() == 0
    run, runs = worker.storing.run, 0

    def run_a_few_times() -> dict[str, int]:
        nonlocal runs
        runs += 1
        assert runs < 10, "it does not end"
        return run()

    monkeypatch.setattr(worker.storing, "run", run_a_few_times)

    # When a process looks by itself
    assert process.poll() == 0

    # Then it has tried once, and waits for its next look
    assert runs == 1
    assert backend.waiting() == 20
