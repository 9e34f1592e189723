"""Stores what waits when no ticket says so: the one safety net under the tickets.

A ticket is lost when a worker is killed before it begins, when the broker refuses it or is emptied, and when a Redis
without memory takes no message. Each pool process therefore polls the stream by itself, which needs no message and
makes room. It leaves alone what came since its last look: under load some leads wait at any moment.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from schema.queue.keys import STREAM, TICKETS
from schema.runtime import logs
from workers.store.batch import Storing, StoringFailed

# The share by which the interval differs between processes and from time to time.
JITTER = 0.3

log = logs.get(__name__)


class FallbackPoller:
    """Polls the stream in a thread of a pool process. Make it after the fork, with a Storing of its own."""

    def __init__(self, client: redis.Redis, storing: Storing) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back
        self._storing = storing
        self._oldest: bytes | None = None

    def poll(self) -> int:
        """Store what waits when its oldest lead was the oldest at the last poll, too, and as long as no ticket waits.

        Returns how many leads became rows or dead letters. It ends when nothing waits that did at the beginning.
        Raises RedisError and StoringFailed.
        """
        newest = _name(self._client.xrevrange(STREAM, count=1))
        oldest = self._first(newest) if newest else None
        known, self._oldest = self._oldest, oldest
        if newest is None or oldest is None or oldest != known:
            return 0
        leads = 0
        while self._first(newest) and not self._client.llen(TICKETS):
            stored = sum(self._storing.run().values())
            if not stored:
                break
            leads += stored
        return leads

    def _first(self, last: bytes) -> bytes | None:
        """Return the name of the oldest entry of the stream, if it is none after `last`."""
        return _name(self._client.xrange(STREAM, max=last, count=1))


def _name(entries: list[tuple[bytes, Any]]) -> bytes | None:
    """Return the name of the one entry; None when others have stored it meanwhile, or none was there."""
    return entries[0][0] if entries else None


def start(make: Callable[[], FallbackPoller], interval: float) -> None:
    """Start the thread, which polls every `interval` seconds; it ends with its process."""

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
