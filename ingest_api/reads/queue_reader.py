"""Reads the queue: a lead that is not stored yet, and the counts of accepted leads."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from schema.lead.lead_id import LeadId
from schema.queue import keys
from schema.queue.accepted_by_source import AcceptedBySource
from schema.queue.accepted_counts import Accepted
from schema.queue.entries import parse
from schema.runtime.redis_clients import AsyncShardClient
from schema.runtime.redis_replicas import address_of, replicas_in
from schema.settings.shards import Shard


class QueueReader:
    """Reads from all shards on connections of its own, so that no reader waits behind a flush."""

    def __init__(self, shards: Sequence[AsyncShardClient], present: int | None = None) -> None:
        """Take clients that `close` closes; the first `present` of them are the present queue's, by default all."""
        self._shards = shards
        self._present = len(shards) if present is None else present
        self._asked: set[asyncio.Task[bytes | RedisError | None]] = set()

    async def find(self, lead_id: LeadId) -> bytes | None:
        """Return the JSON of a lead in a stream or among the dead letters, or None.

        Two look-ups in each shard, however many leads wait. A shard that is away does not matter when another has the
        lead. Raises RedisError.
        """
        if len(self._shards) == 1:
            return await _find(*self._shards[0], lead_id)
        failure: RedisError | None = None
        for answer in asyncio.as_completed([self._ask(each, lead_id) for each in self._shards]):
            found = await answer
            if isinstance(found, RedisError):
                failure = found
            elif found is not None:
                return found
        if failure is not None:
            raise failure
        return None

    def _ask(self, each: AsyncShardClient, lead_id: LeadId) -> asyncio.Task[bytes | RedisError | None]:
        """Begin to ask a shard. When another is faster the task goes on: breaking it off would cost its connection."""

        async def ask() -> bytes | RedisError | None:
            try:
                return await _find(*each, lead_id)
            except RedisError as error:
                return error

        task = asyncio.create_task(ask())
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def accepted(self, width: int, start: int, end: int) -> list[Accepted]:
        """Return the counts of accepted leads that Redis holds, of each shard.

        They are those of the buckets of `width` that begin in [start, end), in seconds. Raises RedisError.
        """
        fields = [keys.EPOCH_FIELD, *(f"{width}:{first}" for first in range(start, end, width))]
        hashes = await asyncio.gather(*(_accepted(*each, fields) for each in self._shards))
        return [Accepted.parse(each) for each in hashes]

    async def accepted_by_source(self) -> list[AcceptedBySource]:
        """Return the counts of accepted leads of sources that Redis holds, of each shard.

        Raises RedisError.
        """
        found = await asyncio.gather(*(_accepted_by_source(*each) for each in self._shards))
        return [AcceptedBySource.parse(int(epoch or 0), numbers) for epoch, numbers in found]

    async def storing_problem(self) -> str | None:
        """Return why workers do not store the leads of a shard, or None. Raises RedisError."""
        found = await asyncio.gather(*(_storing_problem(*each) for each in self._shards))
        return next((each.decode() for each in found if each is not None), None)

    async def servers(self, timeout: float) -> list[dict[str, Any]]:
        """Return who has each shard and how far its replicas are, as /health/ready shows it. Raises nothing.

        A shard that does not answer within `timeout` seconds has an `error`. Those of a queue to come are left out.
        """
        return await asyncio.gather(*(_server(*each, timeout) for each in self._shards[: self._present]))

    async def close(self) -> None:
        """Close the connections."""
        for _, client in self._shards:
            await client.aclose()


# redis-py's types do not say whether text or bytes are returned, nor that these calls are to be awaited.


async def _find(shard: Shard, client: Any, lead_id: LeadId) -> bytes | None:
    place = await client.hget(shard.name(keys.INDEX), lead_id)
    if place is None:
        return None
    place = place.decode()
    dead = place.startswith(keys.DEAD_PREFIX)
    name = place.removeprefix(keys.DEAD_PREFIX)
    entries = await client.xrange(shard.name(keys.DEAD if dead else keys.STREAM), name, name)
    return parse(*entries[0]).payload if entries else None


async def _accepted(shard: Shard, client: Any, fields: list[str]) -> dict[bytes, bytes]:
    numbers = await client.hmget(shard.name(keys.ACCEPTED), fields)
    return {field.encode(): number for field, number in zip(fields, numbers, strict=True) if number is not None}


async def _storing_problem(shard: Shard, client: Any) -> bytes | None:
    found: bytes | None = await client.get(shard.name(keys.STORING_PROBLEM))
    return found


async def _accepted_by_source(shard: Shard, client: Any) -> tuple[bytes | None, dict[bytes, bytes]]:
    epoch = await client.hget(shard.name(keys.ACCEPTED), keys.EPOCH_FIELD)
    return epoch, await client.hgetall(shard.name(keys.SOURCES_ACCEPTED))


async def _server(shard: Shard, client: Any, timeout: float) -> dict[str, Any]:
    named = {"shard": shard.number}
    try:
        async with asyncio.timeout(timeout):
            async with client.client() as connection:
                found = await connection.info("replication")
                if found["role"] != "master":
                    # It was the primary when this connection was made. Connecting again asks who is.
                    await connection.connection.disconnect()
                    found = await connection.info("replication")
                replicas = replicas_in(found)
                host, port = address_of(connection.connection)
    except (RedisError, TimeoutError):
        return named | {"error": "This server does not answer."}
    lags = [{"address": f"{each.host}:{each.port}", "lag_bytes": each.lag_bytes} for each in replicas]
    # The embedded server listens on a socket, which has no port.
    return named | {"primary": f"{host}:{port}" if port else host, "replicas": lags}
