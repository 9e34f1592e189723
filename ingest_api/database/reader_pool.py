"""The read path: database work in a sized pool of threads, off the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ingest_api.http.envelope import unavailable
from schema.database.engines import snapshot
from schema.database.errors import Reaction, reaction_to, reason_of
from schema.runtime import logs

P = ParamSpec("P")
T = TypeVar("T")

# Reads that may wait for each thread: at some milliseconds a read, less than a second's work.
READS_WAITING_MAX = 64

# The share of its timeout within which a read whose connection turned out to be closed is worth a second try.
RECONNECT_SHARE = 0.25

# Threads that have quick reads at a time, and reads that each of them gets at once.
QUICK_THREADS_MAX = 2
QUICK_READS_TOGETHER = 8

_Job = tuple[Callable[[Connection], Any], asyncio.Future[Any]]
_Answer = tuple[Any, Exception | None]

log = logs.get(__name__)


class DatabaseReader(Protocol):
    """Whatever runs functions of a connection."""

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, all in one snapshot, or raise the 503."""

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, which runs one statement, or raise the 503."""


class ReaderPool:
    """Runs functions of a connection in threads, one connection and one snapshot each.

    `timeout` (seconds) bounds a read, the wait for a thread included. The engine's own
    timeout should be as long, so that a database that hangs holds no thread for longer.
    """

    def __init__(self, engine: Engine, threads: int, *, timeout: float) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._timeout = timeout
        self._most = threads * (READS_WAITING_MAX + 1)
        self._open = 0
        self._quick: deque[_Job] = deque()
        self._handed = 0

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`; all its statements see one moment.

        `function` may be called twice. Raises the 503 when the database is away, does not
        answer in time, or has too many reads before it.
        """

        def with_snapshot(connection: Connection) -> T:
            with snapshot(connection):
                return function(connection, *args, **kwargs)

        return await self._run(with_snapshot)

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `in_snapshot` does for a function that runs one quick statement: in one round trip instead of three.

        Those that come while others are on their way are handed to a thread together: that costs more than the read.
        """
        return await self._run(lambda connection: function(connection, *args, **kwargs), together=True)

    async def _run(self, function: Callable[[Connection], T], *, together: bool = False) -> T:
        if self._open >= self._most:
            raise unavailable("Too many reads wait for the database.", "database_busy")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._open += 1
        try:
            async with asyncio.timeout(self._timeout):
                if together:
                    self._quick.append((function, future))
                    self._hand_over()
                else:
                    self._submit([(function, future)])
                return await future
        except TimeoutError:
            log.warning("database slow", seconds=self._timeout)
            raise unavailable("The database does not answer in time.", "database_slow") from None
        except SQLAlchemyError as error:
            if reaction_to(error) not in (Reaction.UNAVAILABLE, Reaction.RETRY):
                raise
            log.warning("database away", reason=reason_of(error))
            raise unavailable("The database does not answer.", "database_away") from None
        finally:
            self._open -= 1

    def _hand_over(self) -> None:
        """Give the quick reads that wait to a thread, unless enough threads have some: then they share the next."""
        while self._quick and self._handed < QUICK_THREADS_MAX:
            jobs = [self._quick.popleft() for _ in range(min(QUICK_READS_TOGETHER, len(self._quick)))]
            self._handed += 1
            self._submit(jobs, self._handed_back)

    def _handed_back(self) -> None:
        self._handed -= 1
        self._hand_over()

    def _submit(self, jobs: list[_Job], then: Callable[[], None] = lambda: None) -> None:
        """Run jobs in a thread, one after the other; call `then` once all have their answers."""
        loop = asyncio.get_running_loop()

        def resolve(answers: list[_Answer]) -> None:
            for (_, future), (answer, error) in zip(jobs, answers, strict=True):
                if future.done():
                    continue
                if error is None:
                    future.set_result(answer)
                else:
                    future.set_exception(error)
            then()

        def work() -> None:
            answers = [self._read(function, future) for function, future in jobs]
            with suppress(RuntimeError):  # the process stops: nobody waits any more
                loop.call_soon_threadsafe(resolve, answers)

        self._threads.submit(work)

    def _read(self, function: Callable[[Connection], Any], future: asyncio.Future[Any]) -> _Answer:
        if future.done():
            # Whoever asked has stopped waiting.
            return None, None
        try:
            return self._with_reconnect(function), None
        except Exception as error:
            return None, error

    def _with_reconnect(self, function: Callable[[Connection], T]) -> T:
        begun = time.monotonic()
        try:
            with self._engine.connect() as connection:
                return function(connection)
        except DBAPIError as error:
            # A connection that was closed while nobody used it; all that came with it are new now.
            if not error.connection_invalidated or time.monotonic() - begun > self._timeout * RECONNECT_SHARE:
                raise
        with self._engine.connect() as connection:
            return function(connection)

    def close(self) -> None:
        """End the threads and close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
