"""The fallback poller: stores leads that have no ticket. The one safety net under the tickets.

A ticket is lost when a worker is killed before it begins, when the broker refuses it or is emptied, and when Redis is
out of memory. So each pool process polls the stream, which needs no message and frees memory. It ignores leads that
arrived since its last poll: under load some always wait.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import RedisError

from schema.queue.keys import STREAM, TICKETS
from schema.runtime import logs
from schema.runtime.redis_clients import ShardClient
from schema.runtime.redis_errors import reason_of
from schema.settings.shards import Shard
from workers.store.batch import StoringFailed
from workers.store.storing import Storing

# Jitter of the interval, as a share of it.
JITTER = 0.3

log = logs.get(__name__)


class FallbackPoller:
    """Polls the streams in a thread of a pool process. Make it after the fork, with a Storing of its own."""

    def __init__(self, shards: Sequence[ShardClient], broker: redis.Redis, storing: Storing) -> None:
        """Take a client of each shard, and one of the broker that has the tickets."""
        self._streams = [_Stream(*each) for each in shards]
        self._broker: Any = broker  # redis-py's types do not say that these calls return no awaitables
        self._storing = storing

    def poll(self) -> int:
        """Store waiting leads if a shard's oldest one was the oldest at the last poll, too: as much as a ticket does.

        Goes on while no ticket waits, until all leads that waited there at the beginning are gone. A ticket that waits
        may be one that no worker fetches, so it does not keep the first run from storing. Returns how many leads
        became rows, were rows before, or became dead letters. Raises StoringFailed.
        """
        stuck = [each for each in self._streams if each.is_stuck()]
        leads = 0
        while stuck and (stored := sum(self._storing.run().values())):
            leads += stored
            stuck = [each for each in stuck if each.has_stuck()]
            if self._has_tickets():
                break
        return leads

    def _has_tickets(self) -> bool:
        try:
            return bool(self._broker.llen(TICKETS))
        except RedisError:
            return False


class _Stream:
    """What a poller knows of one shard's stream."""

    def __init__(self, shard: Shard, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        self._name = shard.name(STREAM)
        self._oldest: bytes | None = None
        self._newest: bytes | None = None

    def is_stuck(self) -> bool:
        """Look at the stream; tell whether its oldest entry is the one of the last look. False when it is away."""
        try:
            self._newest = _name(self._client.xrevrange(self._name, count=1))
            oldest = self._first() if self._newest else None
        except RedisError as error:
            log.warning("stream not polled", reason=reason_of(error))
            return False
        known, self._oldest = self._oldest, oldest
        return oldest is not None and oldest == known

    def has_stuck(self) -> bool:
        """Tell whether an entry is left of those that were there at the last look."""
        try:
            return self._first() is not None
        except RedisError:
            return False

    def _first(self) -> bytes | None:
        """Return the name of the oldest entry, or None when it is newer than the last look or there is none."""
        return _name(self._client.xrange(self._name, max=self._newest, count=1))


def _name(entries: list[tuple[bytes, Any]]) -> bytes | None:
    """Return the name of the one entry, or None when there is none."""
    return entries[0][0] if entries else None


def start(make: Callable[[], FallbackPoller], interval: float) -> None:
    """Start a daemon thread that makes a poller and polls about every `interval` seconds."""

    def poll() -> None:
        poller = make()
        while True:
            time.sleep(interval * random.uniform(1 - JITTER, 1 + JITTER))
            try:
                leads = poller.poll()
            except (RedisError, StoringFailed) as error:
                log.warning("fallback poll failed", reason=type(error).__name__)
            else:
                if leads:
                    log.info("stored without tickets", leads=leads)

    threading.Thread(target=poll, name="fallback-poller", daemon=True).start()
