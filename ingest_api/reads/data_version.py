"""The version of the data: tells whether anything was stored since a client looked last.

It is read from the primary's counts, about ten rows that are written in the transactions that
store leads, so it can be no older than the leads themselves. Requests in flight together share
one read: each waits for one that began after it came.
"""

import asyncio

from ingest_api.database.reader_pool import ReaderPool
from schema.counts import totals
from schema.counts.totals import DataVersion


class DataVersionReader:
    """Reads the version for any number of requests, one read at a time. Use it from one event loop."""

    def __init__(self, primary: ReaderPool) -> None:
        self._primary = primary
        self._running: asyncio.Task[DataVersion] | None = None
        self._next: asyncio.Task[DataVersion] | None = None

    async def read(self) -> DataVersion:
        """Return the version as it is now: whatever was stored before the call is in it.

        Raises the 503.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read(self._running))
        return await asyncio.shield(self._next)

    async def _read(self, before: asyncio.Task[DataVersion] | None) -> DataVersion:
        if before is not None:
            await asyncio.wait([before])
        # Who comes from here on needs a read that begins later.
        self._running, self._next = self._next, None
        return await self._primary.one_statement(totals.version)
