"""Looks into the queue: a lead that is not stored yet, and the numbers of accepted leads."""

from collections.abc import Awaitable
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from ingest_api.http.envelope import unavailable
from schema.lead.lead_id import LeadId
from schema.queue import stream
from schema.queue.accepted import Accepted


class QueueReader:
    """Reads from Redis on connections of its own, so that no reader waits behind a flush."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back

    async def find(self, lead_id: LeadId) -> bytes | None:
        """Return the JSON of a lead that waits in the stream or among the dead letters, or None.

        Two look-ups, however many leads wait. Raises the 503 when Redis is away.
        """
        place = await self._ask(self._client.hget(stream.INDEX, lead_id))
        if place is None:
            return None
        dead = place.startswith(stream.DEAD_PREFIX)
        name = place.removeprefix(stream.DEAD_PREFIX)
        entries = await self._ask(self._client.xrange(stream.DEAD if dead else stream.STREAM, name, name))
        return stream.parse(*entries[0]).payload if entries else None

    async def accepted(self) -> Accepted:
        """Return the numbers of accepted leads that Redis holds.

        Raises the 503 when Redis is away.
        """
        return Accepted.parse(await self._ask(self._client.hgetall(stream.ACCEPTED)))

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises the 503 when it does not.
        """
        await self._ask(self._client.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, command: Awaitable[Any]) -> Any:
        try:
            return await command
        except (RedisError, OSError, TimeoutError):
            raise unavailable("The queue does not answer.", "queue_away") from None
