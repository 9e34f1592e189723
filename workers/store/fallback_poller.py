"""The fallback poller: stores leads that have no ticket. The one safety net under the tickets.

A ticket is lost when a worker is killed before it begins, when the broker refuses it or is emptied, and when Redis is
out of memory. So each pool process polls the stream, which needs no message and frees memory. It ignores leads that
arrived since its last poll: under load some always wait.
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

# Jitter of the interval, as a share of it.
JITTER = 0.3

log = logs.get(__name__)


class FallbackPoller:
    """Polls the stream in a thread of a pool process. Make it after the fork, with a Storing of its own."""

    def __init__(self, client: redis.Redis, storing: Storing) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        self._storing = storing
        self._oldest: bytes | None = None

    def poll(self) -> int:
        """Store waiting leads if the oldest one was the oldest at the last poll, too: as much as a ticket does.

        Goes on while no ticket waits, until all leads that waited at the beginning are gone. A ticket that waits may
        be one that no worker fetches, so it does not keep the first run from storing. Returns how many leads became
        rows, were rows before, or became dead letters. Raises RedisError and StoringFailed.
        """
        newest = _name(self._client.xrevrange(STREAM, count=1))
        oldest = self._first(newest) if newest else None
        known, self._oldest = self._oldest, oldest
        if newest is None or oldest is None or oldest != known:
            return 0
        leads = 0
        while stored := sum(self._storing.run().values()):
            leads += stored
            if not self._first(newest) or self._client.llen(TICKETS):
                break
        return leads

    def _first(self, last: bytes) -> bytes | None:
        """Return the name of the stream's oldest entry, or None when it is newer than `last` or there is none."""
        return _name(self._client.xrange(STREAM, max=last, count=1))


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
