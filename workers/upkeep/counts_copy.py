"""Copies the counts of accepted leads from Redis to the database, which must outlive a Redis that loses its data."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import RedisError
from sqlalchemy import Engine

from schema.counts.widths import DAY
from schema.queue import accepted_by_source, accepted_counts
from schema.queue.accepted_by_source import AcceptedBySource, Bucket
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import ACCEPTED, COPIED, FIRST_FIELD, MOVED_MARK, SOURCES_ACCEPTED, source_name
from schema.runtime.confirmation import Topology, confirm
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings
from schema.settings.shards import Shard, home_of

# Interval (seconds) at which all numbers are copied, not only those that have changed: a failover of the database may
# have lost what was copied.
WHOLE_COPY_INTERVAL = 60.0

# Longest wait (seconds) for the replicas to have the counts that are copied.
COUNTS_CONFIRMATION_TIMEOUT = 2.0


class CountsCopy:
    """A step of the sweep. Make it after the fork."""

    def __init__(self, shards: Sequence[ShardClient], engine: Engine, settings: Settings) -> None:
        self._shards = shards
        self._engine = engine
        self._replicas = settings.redis_replicas
        self._topologies = {shard: Topology(shard) for shard, _ in shards}
        self._present = settings.shards  # without those of a queue that is moved to
        self._is_moving = bool(settings.next_shards)
        self._copied: dict[Shard, _Counts] = {}
        self._whole_at = 0.0  # time.monotonic() of the next whole copy

    def run(self) -> int:
        """Copy the counts of all shards; return how many buckets. A shard that is away does not keep the others.

        Raises SQLAlchemyError, and RedisError when shards were away.
        """
        failure: RedisError | None = None
        read: list[_Counts] = []
        for each in self._shards:
            try:
                read.append(self._read(each))
            except RedisError as error:
                failure = error
        found = [each for each in read if each.all.numbers]
        is_first = False
        if found:
            is_first = self._copy(found) and failure is None
            for fresh in found:
                _finish(fresh, is_first=is_first and fresh.place.shard in self._present)
        for counts in read:
            if not counts.all.numbers and counts.by_source.moved:
                _finish(counts, is_first=False)
        if not is_first:
            self._restore_days(read)
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
        now = time.monotonic()
        if now >= self._whole_at:
            self._copied, self._whole_at = {}, now + WHOLE_COPY_INTERVAL
        with self._engine.begin() as connection:
            for fresh in found:
                before = self._copied.get(fresh.place.shard)
                accepted_counts.copy(connection, fresh.all.since(before and before.all))
                accepted_by_source.copy(connection, fresh.by_source.since(before and before.by_source))
            is_first = accepted_counts.are_first(connection, epochs)
        self._copied.update({fresh.place.shard: fresh for fresh in found})
        return is_first

    def _restore_days(self, read: Sequence["_Counts"]) -> None:
        """Give shards that have lost their data what sources sent today, for the daily caps; not during a move.

        Raises SQLAlchemyError and RedisError.
        """
        homes = {each.place.shard.number: each for each in read if each.place.shard in self._present}
        if self._is_moving:
            return
        with self._engine.connect() as connection:
            days = accepted_by_source.days_since(connection, int(time.time()) - DAY)
        for number, each in homes.items():
            lost: Counter[Bucket] = Counter()
            for bucket, epoch, accepted in days:
                if epoch != each.all.epoch and home_of(source_name(bucket.source), len(self._present)) == number:
                    lost[bucket] += accepted
            fields = {
                MOVED_MARK + key.field: value for key, value in lost.items() if value > each.by_source.moved.get(key, 0)
            }
            if fields:
                shard, client = each.place
                client.hset(shard.name(SOURCES_ACCEPTED), items=[part for field in fields.items() for part in field])


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
