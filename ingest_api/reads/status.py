"""Reads how the service is for people, once for all API processes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson

from ingest_api.intake.refused_leads import RefusedLeads
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.queue_reader import QueueReader
from ingest_api.reads.service_state import StateReader, or_none
from schema.queue.keys import STATUS
from schema.runtime.redis_clients import AsyncShardClient
from schema.settings import Settings

# How long, milliseconds, all processes share a reading: it costs as much as ten requests, and a page asks each 2 s.
STATUS_TTL = 1900

# Longest wait (seconds) for what another process read.
SHARE_TIMEOUT = 0.5


class StatusReader:
    """Reads the status, or takes what another process has read."""

    def __init__(
        self,
        settings: Settings,
        shard: AsyncShardClient,
        queue: QueueReader,
        state: StateReader,
        ledgers: LedgerReader,
        refused: RefusedLeads,
    ) -> None:
        """Take a client of the home shard, which somebody else closes."""
        self._is_embedded = settings.embedded_redis and not settings.database_url
        self._queue_max = settings.queue_max
        self._name = shard.shard.name(STATUS)
        self._redis = shard.client
        self._queue = queue
        self._state = state
        self._ledgers = ledgers
        self._refused = refused

    async def read(self) -> bytes:
        """Return the status as JSON, of at most STATUS_TTL ago. Raises nothing: what cannot be read is null."""
        shared = await or_none(self._redis.get(self._name), SHARE_TIMEOUT)
        if isinstance(shared, bytes):
            return shared
        status = orjson.dumps(await self._read())
        await or_none(self._redis.set(self._name, status, px=STATUS_TTL), SHARE_TIMEOUT)
        return status

    async def _read(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        state = await self._state.read()
        numbers, refused, problem = None, None, None
        if state.queue:
            numbers, refused, problem = await asyncio.gather(
                or_none(self._ledgers.queue()), or_none(self._refused.today()), or_none(self._queue.storing_problem())
            )
        queue: dict[str, float] = numbers or {}
        waiting = queue.get("waiting")
        age = queue.get("oldest")
        return {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "embedded": self._is_embedded,
            "queue": state.queue,
            "database": state.database,
            "waiting": waiting,
            "queue_full": waiting is not None and (waiting >= self._queue_max or bool(queue["out_of_memory"])),
            "oldest_age_seconds": None if age is None else round(age, 3),
            "dead_letters": queue.get("dead"),
            "storing_delay_seconds": queue.get("storing_delay"),
            "storing_problem": problem if waiting else None,
            "refused_today": refused,
            "ledger": state.ledger,
            "servers": state.servers,
        }
