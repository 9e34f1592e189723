"""Lets requests wait for what is stored next: one query for all of a process, and none while nobody waits."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ingest_api import metrics
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.envelope import unavailable
from ingest_api.reads.changes_cursor import ChangesCursor
from schema.database import stored_positions

# Interval (seconds) of the query while somebody waits.
CHANGES_INTERVAL = 0.5

# Most requests of one process that wait. Each holds a connection of its client, but no thread and none to the database.
CHANGES_WAITING_MAX = 1_000


@dataclass(eq=False, slots=True)
class _Waiting:
    cursor: ChangesCursor
    is_gone: Callable[[], bool]
    woken: asyncio.Future[None]


class ChangesWatch:
    """Wakes those who wait. Use it from the event loop."""

    def __init__(self, reader: DatabaseReader, stopping: asyncio.Event) -> None:
        """Take what is set when the process begins to stop: then nobody waits any more."""
        self._reader = reader
        self._stop_event = stopping
        self._waiting: set[_Waiting] = set()
        self._query: asyncio.Task[None] | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the process has begun to stop."""
        return self._stop_event.is_set()

    async def wait(self, cursor: ChangesCursor, deadline: float, is_gone: Callable[[], bool]) -> None:
        """Return when something was stored behind `cursor`, at `deadline` (the loop's time), or when waiting is over.

        It is over when the process begins to stop, or when `is_gone` says that the client is. Raises the 503 when the
        database does not answer, and when too many wait.
        """
        if self.is_stopping:
            return
        if len(self._waiting) >= CHANGES_WAITING_MAX:
            raise unavailable("Too many requests wait for changes.", "changes_busy")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(cursor, is_gone, loop.create_future())
        self._waiting.add(waiting)
        metrics.CHANGES_WAITING.inc()
        if self._query is None:
            self._query = loop.create_task(self._repeat())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await waiting.woken
        finally:
            self._waiting.discard(waiting)
            metrics.CHANGES_WAITING.dec()

    async def _repeat(self) -> None:
        """Query every CHANGES_INTERVAL while somebody waits; wake all when the process begins to stop."""
        while self._waiting and not self._stop_event.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(CHANGES_INTERVAL):
                    await self._stop_event.wait()
            if self._waiting and not self._stop_event.is_set():
                await self._look()
        self._query = None
        self._wake(lambda _: True)

    async def _look(self) -> None:
        metrics.CHANGES_QUERIES.inc()
        try:
            last: Mapping[int, int] = await self._reader.one_statement(stored_positions.read)
        except Exception as error:  # whatever it is, those who wait must hear of it
            for each in self._asleep():
                each.woken.set_exception(error)
        else:
            self._wake(lambda each: bool(each.cursor.ahead(last)))

    def _wake(self, is_due: Callable[[_Waiting], bool]) -> None:
        for each in self._asleep():
            if each.is_gone() or is_due(each):
                each.woken.set_result(None)

    def _asleep(self) -> list[_Waiting]:
        return [each for each in self._waiting if not each.woken.done()]
