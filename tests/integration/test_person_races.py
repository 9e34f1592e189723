"""schema.person while it is killed, and while workers store: nobody who is erased comes back, and all numbers agree."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schema.database import idempotency
from schema.lead.lead_id import LeadId
from schema.person import erasure, files, removal
from tests.integration.backends import Backend, fields_of, servers_only
from tests.integration.persons import ANN, erase, erased, off, run, shown
from tests.integration.test_database_trouble import blocked
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store import insertion


class Killed(BaseException):
    """The process is gone."""


def killed(*_: object, **__: object) -> None:
    raise Killed


# Where a run is cut short: the module, and the name of what it is about to do.
STEPS: dict[str, tuple[Any, str]] = {
    "before-traces": (removal.QueueRemoval, "remove_traces"),
    "before-rows": (erasure, "remove_rows"),
    "within-rows": (removal.removal, "subtract_erased"),
    "before-entries": (removal.QueueRemoval, "remove_entries"),
    "before-database-file": (files, "compact_sqlite"),
    "before-queue-file": (files, "rewrite_queue"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("drained", [False, True], ids=["at-once", "after-a-worker"])
def test_a_run_that_was_killed_is_finished_by_the_next(
    backend: Backend, ann: list[LeadId], step: str, drained: bool, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], killed)
        with pytest.raises(Killed):
            run(backend, "erase", "--yes", "--email", ANN["email"], "--phone", ANN["phone"])
    # A worker may store what is left of the queue meanwhile.
    if drained:
        Worker(backend).run()

    erase(backend, "--email", ANN["email"], "--phone", ANN["phone"])

    assert shown(backend, "--email", ANN["email"], "--phone", ANN["phone"]) == []
    assert (erased(backend), off(backend)) == (len(ann), 0)
    Worker(backend).run()
    assert (erased(backend), off(backend), len(backend.stored())) == (len(ann), 0, 3)
    backend.assert_counted()


@servers_only
def test_a_batch_that_is_being_stored_holds_back_the_erasure_and_is_erased_after_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that has looked for erased leads, and has not committed
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    looked, go_on = threading.Event(), threading.Event()
    remember = idempotency.remember

    def wait_and_remember(*arguments: Any) -> None:
        looked.set()
        assert go_on.wait(60)
        remember(*arguments)

    monkeypatch.setattr(insertion.idempotency, "remember", wait_and_remember)
    worker = Worker(backend)
    with ThreadPoolExecutor(2) as pool:
        storing = pool.submit(worker.run)
        assert looked.wait(60)
        erasing = pool.submit(erase, backend)
        until(lambda: blocked(backend))
        go_on.set()
        assert storing.result(60)["stored"] == 6
        erasing.result(60)

    assert backend.stored() == set(others)
    assert anns not in backend.stored()
    assert (erased(backend), off(backend), backend.waiting()) == (1, 0, 0)
    backend.assert_counted()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_read_a_lead_before_it_was_erased_does_not_store_it(
    backend: Backend, moment: str, monkeypatch: pytest.MonkeyPatch
):
    """Erase between a batch's reading and its transaction, or between its COMMIT and the acknowledgement."""
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    if moment == "before":
        store: Callable[..., insertion.Inserted] = insertion.store

        def erased_before(*arguments: Any, **options: Any) -> insertion.Inserted:
            monkeypatch.setattr(insertion, "store", store)
            erase(backend)
            return store(*arguments, **options)

        monkeypatch.setattr(insertion, "store", erased_before)
        assert Worker(backend).run() == {"stored": 5, "duplicates": 0, "dead": 0, "erased": 1}
    else:
        with pytest.raises(Exception, match="queue"):
            Worker(backend, DiesAfterCommit).run()
        assert anns in backend.stored()
        erase(backend)
        until(lambda: Worker(backend).drain(backend))

    assert backend.stored() == set(others)
    assert (erased(backend), off(backend), backend.waiting()) == (1, 0, 0)
    backend.assert_counted()


@servers_only
def test_a_lead_that_is_erased_in_the_middle_of_its_transaction_is_not_stored(backend: Backend):
    """The eraser's transaction ends while the worker's waits for the sums."""
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    worker = Worker(backend)
    with backend.engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        with connection.begin():
            removal.removal.lock(connection, [anns])
            storing = pool.submit(worker.run)
            until(lambda: blocked(backend))
            removal.note_erased(connection, [anns])
        assert storing.result(60) == {"stored": 5, "duplicates": 0, "dead": 0, "erased": 1}

    assert backend.stored() == set(others)
    assert (erased(backend), off(backend)) == (1, 0)
    backend.assert_counted()
