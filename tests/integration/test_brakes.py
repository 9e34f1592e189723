"""The brake on dead letters: what fails alike by the batch stays in the queue until the cause is mended."""

from prometheus_client import REGISTRY

from schema.queue import keys
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.workers import Worker
from tests.kit.servers import until


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
    # And they are stored as soon as the database takes them
    backend.stop_refusing()
    until(lambda: worker.drain(backend))
    assert backend.stored() == set(ids)
    assert REGISTRY.get_sample_value("leads_storing_stopped") == 0
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
