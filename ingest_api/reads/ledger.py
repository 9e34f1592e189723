"""Reads the ledger and the queue's numbers for the health check and the metrics."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import redis
from sqlalchemy import Connection

from ingest_api.database.reader_pool import ReaderPool
from schema.ledger import read_ledger
from schema.queue.stats import read_queue
from schema.runtime.redis_clients import ShardClient


class LedgerReader:
    """Reads the ledger and the queue's numbers in threads, off the event loop."""

    def __init__(self, pool: ReaderPool, shards: Sequence[ShardClient], broker: redis.Redis) -> None:
        """Take a pool that no request uses, because its thread also blocks on Redis."""
        self._pool = pool
        self._shards = shards
        self._broker = broker

    async def read(self) -> dict[str, int]:
        """Return the fields of schema.ledger.Ledger and its `imbalance` by name.

        Raises the 503, and RedisError.
        """
        return await self._pool.in_snapshot(self._read)

    async def queue(self) -> dict[str, float]:
        """Return the numbers of the queue by the keys of ingest_api.metrics.QUEUE_GAUGES.

        Raises RedisError.
        """
        return await asyncio.to_thread(read_queue, self._shards, self._broker)

    def _read(self, connection: Connection) -> dict[str, int]:
        ledger = read_ledger(connection, self._shards)
        return {**asdict(ledger), "imbalance": ledger.imbalance}
