"""Copies the counts of accepted leads from Redis to the database, which must outlive a Redis that loses its data."""

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import Engine

from schema.queue import accepted_counts
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import ACCEPTED, COPIED, FIRST_FIELD
from schema.runtime.confirmation import Topology, confirm
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings

# Longest wait (seconds) for the replicas to have the counts that are copied.
COUNTS_CONFIRMATION_TIMEOUT = 2.0


class CountsCopy:
    """A step of the sweep. Make it after the fork."""

    def __init__(self, shards: Sequence[ShardClient], engine: Engine, settings: Settings) -> None:
        self._shards = shards
        self._engine = engine
        self._replicas = settings.redis_replicas
        self._topologies = {shard: Topology(shard) for shard, _ in shards}
        self._present = set(settings.shards)  # without those of a queue that is moved to

    def run(self) -> int:
        """Copy the counts of all shards; return how many buckets. A shard that is away does not keep the others.

        Raises SQLAlchemyError, and RedisError when shards were away.
        """
        failure: RedisError | None = None
        found: list[tuple[ShardClient, Accepted]] = []
        for each in self._shards:
            try:
                fresh = self._read(each)
            except RedisError as error:
                failure = error
                continue
            if fresh.numbers:
                found.append((each, fresh))
        if found:
            is_first = self._copy(found) and failure is None
            for each, fresh in found:
                _finish(each, fresh, is_first=is_first and each.shard in self._present)
        if failure is not None:
            raise failure
        return sum(len(fresh.numbers) for _, fresh in found)

    def _read(self, each: ShardClient) -> Accepted:
        """Read the counts of a shard once its replicas have them: what a failover takes back must not be copied."""
        shard, client = each
        with client.client() as connection:
            fresh = Accepted.parse(connection.hgetall(shard.name(ACCEPTED)))
            if self._replicas and fresh.numbers:
                connection.set(shard.name(COPIED), int(time.time()))
                confirm(connection, shard, self._replicas, COUNTS_CONFIRMATION_TIMEOUT, self._topologies[shard])
        return fresh

    def _copy(self, found: Sequence[tuple[ShardClient, Accepted]]) -> bool:
        """Copy the numbers; tell whether there were never epochs but those of the present queue's shards."""
        epochs = [fresh.epoch for each, fresh in found if each.shard in self._present]
        with self._engine.begin() as connection:
            for _, fresh in found:
                accepted_counts.copy(connection, fresh)
            return accepted_counts.are_first(connection, epochs)


def _finish(each: ShardClient, fresh: Accepted, *, is_first: bool) -> None:
    """Note in Redis what is known now, and remove what was copied and is old."""
    client: Any = each.client  # redis-py's types do not say whether text or bytes are returned
    name = each.shard.name(ACCEPTED)
    if is_first and not fresh.first:
        client.hset(name, FIRST_FIELD, 1)
    outdated = fresh.outdated(time.time())
    if outdated:
        client.hdel(name, *outdated)
