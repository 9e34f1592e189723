"""Reads from a replica while it keeps up, and from the primary while it does not.

How far a replica is behind is told by the data themselves: it must have come at least as far
as the primary was so many seconds ago. That needs no rights, no clock that agrees with
another, and is true whatever lies between the two servers.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ingest_api import metrics
from ingest_api.database.reader_pool import ReaderPool
from ingest_api.http.envelope import ApiError
from schema.counts import totals
from schema.runtime import logs

P = ParamSpec("P")
T = TypeVar("T")

# Seconds between two looks at the replica.
CHECK_INTERVAL = 0.5

log = logs.get(__name__)


class Lag:
    """Tells whether a replica is further behind than `limit` seconds, from what the two servers showed."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()  # when, and how far the primary had come by then
        self._abreast = clock()  # when the primary was last known to be where the replica is now

    def primary_at(self, progress: int) -> None:
        """Note how far the primary has come by now."""
        now = self._clock()
        self._seen.append((now, progress))
        # The newest of those older than the limit is what the replica must have; older ones are of no use.
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._limit:
            self._seen.popleft()

    def allows(self, progress: int) -> bool:
        """Tell whether a replica that has come so far may be read."""
        return not self._seen or progress >= self._seen[0][1]

    def seconds(self, progress: int | None) -> float:
        """Return how far a replica is behind that has come so far, or, with None, that does not answer."""
        now = self._clock()
        if progress is not None:
            if not self._seen or progress >= self._seen[-1][1]:
                self._abreast = now
            else:
                reached = (moment for moment, there in self._seen if there <= progress)
                self._abreast = max([self._abreast, *reached])
        return now - self._abreast


class Replica:
    """The way to leads for whoever can do with a state a little old."""

    def __init__(self, replica: ReaderPool, primary: ReaderPool, looks: ReaderPool, lag: Lag) -> None:
        """Take the two ways, and one to the primary that does not wait behind requests."""
        self._replica = replica
        self._primary = primary
        self._looks = looks
        self._lag = lag
        self._usable = False

    @property
    def usable(self) -> bool:
        """Whether reads go to the replica at the moment."""
        return self._usable

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, from the primary when the replica cannot be read.

        Raises the 503 when neither can.
        """
        return await self._either(lambda path: path.in_snapshot(function, *args, **kwargs))

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `in_snapshot` does for a function that runs one statement."""
        return await self._either(lambda path: path.one_statement(function, *args, **kwargs))

    async def _either(self, read: Callable[[ReaderPool], Awaitable[T]]) -> T:
        if self._usable:
            try:
                return await read(self._replica)
            except ApiError as error:
                # Nobody else waits for it: the next look may bring it back.
                self._turn(False, error.reason)
        return await read(self._primary)

    async def watch(self) -> None:
        """Look at both servers again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(CHECK_INTERVAL)

    async def look(self) -> None:
        """Decide anew where reads go. While the primary is away, the replica is not measured and goes on."""
        with contextlib.suppress(ApiError, SQLAlchemyError):
            self._lag.primary_at((await self._looks.one_statement(totals.version)).progress)
        try:
            progress = (await self._replica.one_statement(totals.version)).progress
        except (ApiError, SQLAlchemyError):
            metrics.REPLICA_LAG.set(self._lag.seconds(None))
            self._turn(False, "away")
        else:
            metrics.REPLICA_LAG.set(self._lag.seconds(progress))
            allowed = self._lag.allows(progress)
            self._turn(allowed, "keeps up" if allowed else "behind")

    def close(self) -> None:
        """End the threads to the replica and close its connections."""
        self._replica.close()

    def _turn(self, usable: bool, reason: str) -> None:
        if usable != self._usable:
            log.warning("reads go to the replica" if usable else "reads go to the primary", reason=reason)
        self._usable = usable
