"""Reads the data version, which tells whether anything was stored since a client's last request.

It comes from the primary's totals, a few rows that are written in the transactions that store
leads, so it is never older than the leads. Concurrent requests share one read, which must begin
after each of them arrived.
"""

import asyncio

from ingest_api.database.reader_pool import ReaderPool
from schema.counts import totals
from schema.counts.totals import DataVersion


class DataVersionReader:
    """Reads the data version for any number of requests, one read at a time. Use it from one event loop."""

    def __init__(self, primary: ReaderPool) -> None:
        self._primary = primary
        self._running: asyncio.Task[DataVersion] | None = None
        self._next: asyncio.Task[DataVersion] | None = None

    async def read(self) -> DataVersion:
        """Return the data version; it includes everything stored before the call.

        Raises the 503.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read(self._running))
        return await asyncio.shield(self._next)

    async def _read(self, before: asyncio.Task[DataVersion] | None) -> DataVersion:
        if before is not None:
            await asyncio.wait([before])
        # Requests that arrive from here on need the next read.
        self._running, self._next = self._next, None
        return await self._primary.one_statement(totals.version)
