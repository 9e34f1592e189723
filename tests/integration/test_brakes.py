"""The brake on dead letters: what fails alike by the batch stays in the queue until the cause is mended."""

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event

from schema.queue import keys
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.store import storing
from workers.store.backoff import FIRST_SPAN, Backoff


def test_a_batch_that_fails_alike_is_not_dead_lettered(backend: Backend):
    # Given a database that refuses every one of a hundred leads, as after a migration that went wrong
    backend.refuse(POISON)
    ids = backend.accept_all([fields_of(number, firstName=POISON) for number in range(100)])
    worker = Worker(backend)

    # When tickets come
    assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}

    # Then nothing is dead, all of them wait, and an alert is told
    assert backend.dead() == {}
    assert backend.waiting() == 100
    assert REGISTRY.get_sample_value("leads_storing_stopped") == 1
    assert backend.client.get(keys.STORING_PROBLEM).partition(b" of ")[2].startswith(b"100 leads of a batch: ")
    # And they are stored as soon as the database takes them
    backend.stop_refusing()
    until(lambda: worker.drain(backend))
    assert backend.stored() == set(ids)
    assert REGISTRY.get_sample_value("leads_storing_stopped") == 0
    assert backend.client.exists(keys.STORING_PROBLEM) == 0
    assert int(backend.client.get(keys.STORING_DELAY).partition(b":")[0]) >= 0
    assert 0 < backend.client.ttl(keys.STORING_DELAY) <= 900
    backend.assert_counted()


def test_good_leads_of_such_a_batch_wait_with_the_others(backend: Backend):
    backend.refuse(POISON)
    names = [POISON if number % 2 else "Ada" for number in range(100)]
    backend.accept_all([fields_of(number, firstName=name) for number, name in enumerate(names)])

    assert Worker(backend).run() == {"stored": 0, "duplicates": 0, "dead": 0}

    assert (backend.waiting(), backend.stored()) == (100, set())


def test_entries_that_no_release_of_ours_wrote_are_not_dead_lettered_by_the_hundred(backend: Backend):
    # Given entries of a form that this code does not know, as a later release may write them
    for _ in range(50):
        backend.client.xadd(keys.STREAM, {keys.LEAD_FIELD: b"another form"})

    assert Worker(backend).run() == {"stored": 0, "duplicates": 0, "dead": 0}

    assert backend.client.xlen(keys.DEAD) == 0
    assert backend.waiting() == 50


def test_one_after_the_other_the_brake_holds_too(backend: Backend):
    # Given leads that come one by one, each of which is refused
    backend.refuse(POISON)
    worker = Worker(backend, dead_letter_max_in_a_row=5)
    for number in range(7):
        backend.accept_all([fields_of(number, firstName=POISON)])
        worker.run()

    # Then only as many as may be in a row are dead
    assert len(backend.dead()) == 5
    assert backend.waiting() == 2


def test_what_was_given_back_did_not_count_as_a_delivery(backend: Backend):
    backend.refuse(POISON)
    backend.accept_all([fields_of(number, firstName=POISON) for number in range(20)])
    for _ in range(5):
        Worker(backend, deliveries_alone=2, deliveries_max=4).run()

    assert backend.dead() == {}
    deliveries = backend.client.xpending_range(keys.STREAM, keys.GROUP, "-", "+", 20)
    assert {each["times_delivered"] for each in deliveries} == {0}


def test_leads_behind_those_that_nobody_finishes_are_given_back(backend: Backend):
    # Given two leads that were delivered as often as they may be, and a good one behind them
    changes = {"deliveries_alone": 1, "deliveries_max": 2, "claim_after": 0.1, "dead_letter_max_in_a_row": 1}
    backend.accept(2)
    for _ in range(2):
        until(lambda: Worker(backend, **changes).consumer.claim_and_read(10))
    [good] = backend.accept(1)

    def pending() -> list[dict[str, int]]:
        return list(backend.client.xpending_range(keys.STREAM, keys.GROUP, "-", "+", 10))

    until(lambda: all(each["time_since_delivered"] > 100 for each in pending()))

    # When the brake holds at the second of them
    assert Worker(backend, **changes).run() == {"stored": 0, "duplicates": 0, "dead": 1}

    # Then the good one was not delivered, and is stored once the brake is loose
    assert pending()[-1]["times_delivered"] == 0
    worker = Worker(backend, **changes | {"dead_letter_max_in_a_row": 0})
    until(lambda: worker.drain(backend))
    assert backend.stored() == {good}


class Clock:
    """A time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(storing, "Backoff", lambda: Backoff(clock=lambda: self.now, jitter=lambda: 1.0))


def refused(backend: Backend, worker: Worker) -> None:
    """Let a batch be refused as a whole."""
    backend.refuse(POISON)
    backend.accept_all([fields_of(number, firstName=POISON) for number in range(20)])
    assert worker.run()["stored"] == 0


def test_after_a_success_the_wait_is_short_again(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    worker = Worker(backend)
    for _ in range(3):
        refused(backend, worker)
        backend.stop_refusing()
        clock.now += FIRST_SPAN

        assert worker.run()["stored"] == 20


def test_while_it_waits_a_process_leaves_database_and_queue_alone(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    worker = Worker(backend)
    refused(backend, worker)
    connections: list[object] = []
    event.listen(worker.engine, "checkout", lambda *_: connections.append(_))

    clock.now += FIRST_SPAN / 2
    assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}

    assert connections == []
