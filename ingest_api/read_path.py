"""The read path: database work in a sized pool of threads, off the event loop."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ingest_api.envelope import unavailable
from schema import logs
from schema.database import Engine, Reaction, reaction_to, reason_of, snapshot

P = ParamSpec("P")
T = TypeVar("T")

# Reads that may wait for each thread: at some milliseconds a read, less than a second's work.
WAITING_MAX = 64

# The share of its patience within which a read whose connection turned out to be closed is worth a second try.
QUICK = 0.25

log = logs.get(__name__)


class Reads(Protocol):
    """Whatever runs functions of a connection."""

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(connection, ...)`, all in one snapshot, or raise the 503."""

    async def single(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(connection, ...)`, which runs one statement, or raise the 503."""


class ReadPath:
    """Runs functions of a connection in threads, one connection and one snapshot each.

    `patience` (seconds) bounds a read, the wait for a thread included. The engine's own
    timeout should be as long, so that a database that hangs holds no thread for longer.
    """

    def __init__(self, engine: Engine, threads: int, *, patience: float) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._patience = patience
        self._most = threads * (WAITING_MAX + 1)
        self._open = 0

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(connection, ...)`; all its statements see one moment.

        `function` may be called twice. Raises the 503 when the database is away, does not
        answer in time, or has too many reads before it.
        """

        def in_snapshot(connection: Connection) -> T:
            with snapshot(connection):
                return function(connection, *args, **kwargs)

        return await self._run(in_snapshot)

    async def single(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do as `run` does for a function that runs one statement: in one round trip instead of three."""
        return await self._run(lambda connection: function(connection, *args, **kwargs))

    async def _run(self, function: Callable[[Connection], T]) -> T:
        if self._open >= self._most:
            raise unavailable("Too many reads wait for the database.", "database_busy")

        def work() -> T:
            begun = time.monotonic()
            try:
                with self._engine.connect() as connection:
                    return function(connection)
            except DBAPIError as error:
                # A connection that was closed while nobody used it; all that came with it are new now.
                if not error.connection_invalidated or time.monotonic() - begun > self._patience * QUICK:
                    raise
            with self._engine.connect() as connection:
                return function(connection)

        self._open += 1
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            log.warning("database slow", seconds=self._patience)
            raise unavailable("The database does not answer in time.", "database_slow") from None
        except SQLAlchemyError as error:
            if reaction_to(error) not in (Reaction.AWAY, Reaction.AGAIN):
                raise
            log.warning("database away", reason=reason_of(error))
            raise unavailable("The database does not answer.", "database_away") from None
        finally:
            self._open -= 1

    def close(self) -> None:
        """End the threads and close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
