"""The read path: database work in a sized pool of threads, off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ingest_api.envelope import unavailable
from schema import logs
from schema.database import Engine, Reaction, reaction_to, reason_of

P = ParamSpec("P")
T = TypeVar("T")

log = logs.get(__name__)


class ReadPath:
    """Runs functions of a connection in threads, one connection and one snapshot each."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(connection, ...)`; the connection is in a transaction that ends with the call.

        Raises the 503 when the database is away.
        """

        def work() -> T:
            with self._engine.connect() as connection:
                return function(connection, *args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except SQLAlchemyError as error:
            if reaction_to(error) not in (Reaction.AWAY, Reaction.AGAIN):
                raise
            log.warning("database away", reason=reason_of(error))
            raise unavailable("The database does not answer.", "database_away") from None

    def close(self) -> None:
        """End the threads and close the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._engine.dispose()
