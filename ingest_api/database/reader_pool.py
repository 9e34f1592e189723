"""The reader pool: database reads in a bounded pool of threads, off the event loop."""

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

# Most reads waiting per thread, less than a second's work; beyond that a read gets the 503.
READS_WAITING_MAX = 64

# Share of the timeout within which a read on a closed connection is retried.
RECONNECT_SHARE = 0.25

# Most threads that run quick reads at a time, and most quick reads handed to one of them together.
QUICK_THREADS_MAX = 2
QUICK_READS_TOGETHER = 8

_Job = tuple[Callable[[Connection], Any], asyncio.Future[Any]]
_Answer = tuple[Any, Exception | None]

log = logs.get(__name__)


class DatabaseReader(Protocol):
    """Runs functions of a connection; implemented by ReaderPool and Replica."""

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, run in one snapshot. Raises the 503."""

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, which runs one statement. Raises the 503."""


class ReaderPool:
    """Runs functions of a connection in threads, one connection and one snapshot each.

    `timeout` (seconds) bounds a read, including the wait for a thread. Give the engine the same
    timeout, so that a database that hangs blocks no thread for longer.
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
        """Return `function(connection, ...)`, all its statements in one snapshot.

        `function` may be called twice. Raises the 503 when the database is away or slower than
        the timeout, or when too many reads wait.
        """

        def with_snapshot(connection: Connection) -> T:
            with snapshot(connection):
                return function(connection, *args, **kwargs)

        return await self._run(with_snapshot)

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `in_snapshot`, for a function with one quick statement: one round trip instead of three.

        Concurrent quick reads are handed to a thread in batches, because the hand-over costs more than the read.
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
        """Submit waiting quick reads in batches, while fewer than QUICK_THREADS_MAX threads run some."""
        while self._quick and self._handed < QUICK_THREADS_MAX:
            jobs = [self._quick.popleft() for _ in range(min(QUICK_READS_TOGETHER, len(self._quick)))]
            self._handed += 1
            self._submit(jobs, self._handed_back)

    def _handed_back(self) -> None:
        self._handed -= 1
        self._hand_over()

    def _submit(self, jobs: list[_Job], then: Callable[[], None] = lambda: None) -> None:
        """Run jobs in one thread, one after the other; then resolve their futures and call `then` in the event loop."""
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
            with suppress(RuntimeError):  # the event loop is closed: the process stops
                loop.call_soon_threadsafe(resolve, answers)

        self._threads.submit(work)

    def _read(self, function: Callable[[Connection], Any], future: asyncio.Future[Any]) -> _Answer:
        if future.done():
            # Timed out or cancelled.
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
            # Probably the server closed an idle connection. SQLAlchemy has invalidated the pool: a retry reconnects.
            if not error.connection_invalidated or time.monotonic() - begun > self._timeout * RECONNECT_SHARE:
                raise
        with self._engine.connect() as connection:
            return function(connection)

    def close(self) -> None:
        """Stop the threads and close the connections, without waiting for running reads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
