"""Reads the queue: a lead that is not stored yet, and the counts of accepted leads."""

from typing import Any

import redis.asyncio

from schema.lead.lead_id import LeadId
from schema.queue import keys
from schema.queue.accepted_counts import Accepted
from schema.queue.entries import parse


class QueueReader:
    """Reads from Redis on connections of its own, so that no reader waits behind a flush."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned

    async def find(self, lead_id: LeadId) -> bytes | None:
        """Return the JSON of a lead in the stream or among the dead letters, or None.

        Two look-ups, however many leads wait. Raises RedisError.
        """
        place = await self._client.hget(keys.INDEX, lead_id)
        if place is None:
            return None
        place = place.decode()
        dead = place.startswith(keys.DEAD_PREFIX)
        name = place.removeprefix(keys.DEAD_PREFIX)
        entries = await self._client.xrange(keys.DEAD if dead else keys.STREAM, name, name)
        return parse(*entries[0]).payload if entries else None

    async def accepted(self) -> Accepted:
        """Return the counts of accepted leads that Redis holds.

        Raises RedisError.
        """
        return Accepted.parse(await self._client.hgetall(keys.ACCEPTED))

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises RedisError when it does not.
        """
        await self._client.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
