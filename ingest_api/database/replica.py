"""Reads from a replica while its lag is within bounds, else from the primary.

The lag comes from the data: the replica must have stored at least as much as the primary had
`limit` seconds ago. That needs no privileges and no synchronised clocks, and holds for any kind
of replication.
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

# Interval (seconds) of the check of the replica.
CHECK_INTERVAL = 0.5

log = logs.get(__name__)


class Lag:
    """Computes a replica's lag from the progress of both servers (DataVersion.progress); `limit` in seconds."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()  # time, and the primary's progress at that time
        self._caught_up = clock()  # the last time when the primary's progress was at most the replica's

    def primary_at(self, progress: int) -> None:
        """Record the primary's present progress."""
        now = self._clock()
        self._seen.append((now, progress))
        # Only the newest record older than the limit is needed: the replica must have reached it.
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._limit:
            self._seen.popleft()

    def allows(self, progress: int) -> bool:
        """Tell whether a replica with this progress may be read."""
        return not self._seen or progress >= self._seen[0][1]

    def seconds(self, progress: int | None) -> float:
        """Return the lag of a replica with this progress, in seconds; None stands for one that does not answer."""
        now = self._clock()
        if progress is not None:
            if not self._seen or progress >= self._seen[-1][1]:
                self._caught_up = now
            else:
                reached = (moment for moment, there in self._seen if there <= progress)
                self._caught_up = max([self._caught_up, *reached])
        return now - self._caught_up


class Replica:
    """A DatabaseReader for reads that tolerate lag: the replica while it is usable, else the primary."""

    def __init__(self, replica: ReaderPool, primary: ReaderPool, check_pool: ReaderPool, lag: Lag) -> None:
        """Take both pools, and with `check_pool` a pool to the primary on which no check waits behind requests."""
        self._replica = replica
        self._primary = primary
        self._check_pool = check_pool
        self._lag = lag
        self._usable = False
        self._lag_seconds = 0.0

    @property
    def lag_seconds(self) -> float:
        """How far the replica was behind at the last look."""
        return self._lag_seconds

    @property
    def usable(self) -> bool:
        """Whether reads go to the replica at the moment."""
        return self._usable

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `function(connection, ...)`, run in one snapshot; from the primary when the replica cannot be read.

        Raises the 503 when neither can.
        """
        return await self.read(self._replica, self._primary, lambda pool: pool.in_snapshot(function, *args, **kwargs))

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `in_snapshot`, for a function that runs one statement."""
        return await self.read(self._replica, self._primary, lambda pool: pool.one_statement(function, *args, **kwargs))

    async def read(self, replica: ReaderPool, primary: ReaderPool, read: Callable[[ReaderPool], Awaitable[T]]) -> T:
        """Return `read(pool)` for one of two pools, to the replica and to the primary. Raises the 503."""
        if self._usable:
            try:
                return await read(replica)
            except ApiError as error:
                # Further reads skip the replica until a check finds it usable.
                self._switch(False, error.reason)
        return await read(primary)

    async def watch(self) -> None:
        """Check both servers every CHECK_INTERVAL until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(CHECK_INTERVAL)

    async def look(self) -> None:
        """Decide again where reads go. While the primary is away, the replica stays usable."""
        with contextlib.suppress(ApiError, SQLAlchemyError):
            self._lag.primary_at((await self._check_pool.one_statement(totals.version)).progress)
        try:
            progress = (await self._replica.one_statement(totals.version)).progress
        except (ApiError, SQLAlchemyError):
            self._record_lag(None)
            self._switch(False, "away")
        else:
            self._record_lag(progress)
            allowed = self._lag.allows(progress)
            self._switch(allowed, "keeps up" if allowed else "behind")

    def close(self) -> None:
        """Close the replica's pool."""
        self._replica.close()

    def _record_lag(self, progress: int | None) -> None:
        self._lag_seconds = self._lag.seconds(progress)
        metrics.REPLICA_LAG.set(self._lag_seconds)

    def _switch(self, usable: bool, reason: str) -> None:
        if usable != self._usable:
            log.warning("reads go to the replica" if usable else "reads go to the primary", reason=reason)
        self._usable = usable


class ReplicaPools:
    """A DatabaseReader with pools of its own, to a replica that a Replica watches and to the primary."""

    def __init__(self, watched: Replica, replica: ReaderPool, primary: ReaderPool) -> None:
        self._watched = watched
        self._replica = replica
        self._primary = primary

    async def in_snapshot(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what Replica.in_snapshot does, on these pools."""
        return await self._watched.read(
            self._replica, self._primary, lambda pool: pool.in_snapshot(function, *args, **kwargs)
        )

    async def one_statement(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what Replica.one_statement does, on these pools."""
        return await self._watched.read(
            self._replica, self._primary, lambda pool: pool.one_statement(function, *args, **kwargs)
        )
