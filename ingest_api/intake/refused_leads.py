"""Counts the leads that were refused, by minute, hour and day, in the home shard.

For the statistics, not for the ledger: what a process has not written when it is killed, a second's, is not counted.
"""

import asyncio
import time
from collections import Counter

from redis.exceptions import RedisError

from schema.counts.widths import DAY, MINUTE
from schema.queue.refused_counts import REFUSED_TTL, name_of
from schema.runtime.redis_clients import AsyncShardClient

# Interval, seconds, of the writes of one process.
WRITE_INTERVAL = 1.0

# Most minutes that a process keeps while Redis is away; beyond that the oldest are dropped.
REFUSED_MINUTES_MAX = 60


class RefusedLeads:
    """Counts for one process, and reads what all have counted. Use it from the event loop."""

    def __init__(self, shard: AsyncShardClient) -> None:
        """Take a client that `close` closes."""
        self._shard = shard.shard
        self._redis = shard.client
        self._counts: Counter[int] = Counter()  # by first second of the minute
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    def note(self, number: int) -> None:
        """Buffer so many leads that were refused now."""
        self._counts[int(time.time()) // MINUTE * MINUTE] += number
        self._schedule()

    async def today(self) -> int:
        """Return how many were refused since midnight, UTC. Raises RedisError."""
        return int(await self._redis.get(self._shard.name(name_of(DAY, int(time.time())))) or 0)

    async def by_bucket(self, width: int, start: int, end: int) -> dict[int, int] | None:
        """Return the numbers by first second of the buckets of `width` in [start, end), in seconds; without empty ones.

        None when the first bucket is older than they are kept. Raises RedisError.
        """
        if start < time.time() - REFUSED_TTL[width]:
            return None
        buckets = range(start, end, width)
        found = await self._redis.mget([self._shard.name(name_of(width, each)) for each in buckets])
        return {bucket: int(number) for bucket, number in zip(buckets, found, strict=True) if number is not None}

    async def close(self) -> None:
        """Write what is left, if Redis accepts it, and close the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            await self._writer
        await self._write()
        await self._redis.aclose()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_INTERVAL, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        else:
            self._schedule()

    async def _write(self) -> None:
        """Add the buffered counts. A write that fails is tried again, and one whose answer was lost counts twice."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        pipeline = self._redis.pipeline(transaction=True)
        for minute, number in counts.items():
            for width, ttl in REFUSED_TTL.items():
                name = self._shard.name(name_of(width, minute))
                pipeline.incrby(name, number)
                pipeline.expire(name, ttl)
        try:
            await pipeline.execute()
        except (RedisError, OSError):
            counts.update(self._counts)
            self._counts = Counter(dict(sorted(counts.items())[-REFUSED_MINUTES_MAX:]))
            self._schedule()
