"""Reads the ledger and the queue's numbers for the health check and the metrics."""

import asyncio
from dataclasses import asdict

import redis
from redis.exceptions import RedisError
from sqlalchemy import Connection

from ingest_api.database.reader_pool import ReadPath
from ingest_api.http.envelope import unavailable
from schema.ledger import read_ledger
from schema.queue.queue_state import read_queue


class Ledgers:
    """The way to the ledger, off the event loop."""

    def __init__(self, primary: ReadPath, client: redis.Redis) -> None:
        self._primary = primary
        self._client = client

    async def read(self) -> dict[str, int]:
        """Return the numbers of schema.ledger.Ledger by name, and `off`, how many accepted leads are nowhere.

        Raises the 503.
        """
        try:
            return await self._primary.single(self._read)
        except RedisError:
            raise unavailable("The queue does not answer.", "queue_away") from None

    async def queue(self) -> dict[str, float]:
        """Return the numbers of the queue by the keys of ingest_api.metrics.QUEUE.

        Raises the 503.
        """
        try:
            return await asyncio.to_thread(read_queue, self._client)
        except RedisError:
            raise unavailable("The queue does not answer.", "queue_away") from None

    def _read(self, connection: Connection) -> dict[str, int]:
        ledger = read_ledger(connection, self._client)
        return {**asdict(ledger), "off": ledger.off}
