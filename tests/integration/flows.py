"""Leads that are accepted and stored all the time, while a test breaks what they go through."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from schema.lead.lead_id import LeadId
from schema.ledger import read_ledger
from tests.integration.backends import Backend
from tests.integration.workers import Worker
from tests.kit.servers import until

# Leads accepted together, and the pause (seconds) before the next ones.
TOGETHER = 3
PAUSE = 0.03


class Flow:
    """Accepts leads in one thread, and stores them in others, within the block."""

    def __init__(self, backend: Backend, *workers: Worker) -> None:
        self.accepted: list[LeadId] = []
        self.stored: list[float] = []  # when each batch was stored, by time.monotonic
        self._backend = backend
        self._ended = threading.Event()
        self._failures: list[BaseException] = []
        self._workers = workers
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._go_on(self._accept)
        for each in self._workers:
            self.store_with(each)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def store_with(self, worker: Worker) -> None:
        """Store with this worker too, from now on."""
        self._go_on(self._store, worker)

    def wait_for_rows(self, within: float = 60.0) -> float:
        """Wait until a batch is stored that is stored from now on; return how many seconds it took."""
        begun = time.monotonic()
        return until(lambda: next((each - begun for each in self.stored if each > begun), None), within)

    def _go_on(self, *work: Any) -> None:
        self._threads.append(threading.Thread(target=self._guard, args=work))
        self._threads[-1].start()

    def _guard(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            while not self._ended.wait(PAUSE):
                work(*arguments)
        except BaseException as error:
            self._failures.append(error)

    def _accept(self) -> None:
        self.accepted += self._backend.accept(TOGETHER)

    def _store(self, worker: Worker) -> None:
        if worker.run()["stored"]:
            self.stored.append(time.monotonic())


def assert_each_stored_once(backend: Backend, flow: Flow, worker: Worker) -> None:
    """Let the worker store what waits; then each accepted lead is one row, and all numbers agree."""
    until(lambda: worker.drain(backend) and backend.pending() == 0, 60, 0.1)
    assert backend.dead() == {}
    assert backend.stored() == set(flow.accepted)
    backend.assert_counted()
    with backend.engine.connect() as connection:
        ledger = read_ledger(connection, backend.shards)
    assert (ledger.accepted, ledger.stored, ledger.imbalance) == (len(flow.accepted), len(flow.accepted), 0)
