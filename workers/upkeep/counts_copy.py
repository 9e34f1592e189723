"""Copies the counts of accepted leads from Redis to the database, which must outlive a Redis that loses its data."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import RedisError
from sqlalchemy import Engine

from schema.queue import accepted_by_source, accepted_counts
from schema.queue.accepted_by_source import AcceptedBySource
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import ACCEPTED, COPIED, FIRST_FIELD, SOURCES_ACCEPTED
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
        found: list[_Counts] = []
        for each in self._shards:
            try:
                fresh = self._read(each)
            except RedisError as error:
                failure = error
                continue
            if fresh.all.numbers:
                found.append(fresh)
        if found:
            is_first = self._copy(found) and failure is None
            for fresh in found:
                _finish(fresh, is_first=is_first and fresh.place.shard in self._present)
        if failure is not None:
            raise failure
        return sum(len(fresh.all.numbers) for fresh in found)

    def _read(self, each: ShardClient) -> "_Counts":
        """Read the counts of a shard once its replicas have them: what a failover takes back must not be copied."""
        shard, client = each
        with client.client() as connection:
            # In this order: leads that come in between are in the later one at most, and the next sweep copies both.
            fresh = Accepted.parse(connection.hgetall(shard.name(ACCEPTED)))
            by_source = AcceptedBySource.parse(fresh.epoch, connection.hgetall(shard.name(SOURCES_ACCEPTED)))
            if self._replicas and fresh.numbers:
                connection.set(shard.name(COPIED), int(time.time()))
                confirm(connection, shard, self._replicas, COUNTS_CONFIRMATION_TIMEOUT, self._topologies[shard])
        return _Counts(each, fresh, by_source)

    def _copy(self, found: Sequence["_Counts"]) -> bool:
        """Copy the numbers; tell whether there were never epochs but those of the present queue's shards."""
        epochs = [fresh.all.epoch for fresh in found if fresh.place.shard in self._present]
        with self._engine.begin() as connection:
            for fresh in found:
                accepted_counts.copy(connection, fresh.all)
                accepted_by_source.copy(connection, fresh.by_source)
            return accepted_counts.are_first(connection, epochs)


class _Counts(NamedTuple):
    """What a shard has counted."""

    place: ShardClient
    all: Accepted
    by_source: AcceptedBySource


def _finish(fresh: _Counts, *, is_first: bool) -> None:
    """Note in Redis what is known now, and remove what was copied and is old."""
    shard, client = fresh.place
    if is_first and not fresh.all.first:
        client.hset(shard.name(ACCEPTED), FIRST_FIELD, "1")
    now = time.time()
    for key, outdated in ((ACCEPTED, fresh.all.outdated(now)), (SOURCES_ACCEPTED, fresh.by_source.outdated(now))):
        if outdated:
            client.hdel(shard.name(key), *outdated)
