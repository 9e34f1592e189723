"""Stores what waits when no message can say so: beat is dead, or a full Redis takes no more messages.

A Redis that is out of memory still gives leads out and lets them go. Each pool process looks
by itself every now and then; it needs no message for that, and what it stores makes room. It
leaves alone what came since its last look: under load some leads wait at any moment, and
between two tickets none does.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from schema.queue import stream
from schema.queue.tickets import QUEUE
from schema.runtime import logs
from workers.store.batch import Storing, StoringFailed

# Seconds between two looks, and the share by which they differ between processes.
INTERVAL = 5.0
JITTER = 0.3

log = logs.get(__name__)


class StandBy:
    """Runs in a thread of a pool process. Make it after the fork, with a Storing of its own."""

    def __init__(self, client: redis.Redis, storing: Storing) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back
        self._storing = storing
        self._oldest: bytes | None = None

    def run(self) -> int:
        """Store what waits when its oldest lead was the oldest at the last call, too, and as long as no ticket waits.

        Returns how many turns stored anything: each is what a ticket does. The last one is over
        when nothing waits that did at the beginning. Raises RedisError and StoringFailed.
        """
        newest = _name(self._client.xrevrange(stream.STREAM, count=1))
        oldest = self._first(newest) if newest else None
        known, self._oldest = self._oldest, oldest
        if newest is None or oldest is None or oldest != known:
            return 0
        turns = 0
        while self._first(newest) and not self._client.llen(QUEUE):
            if not any(self._storing.run().values()):
                break
            turns += 1
        return turns

    def _first(self, last: bytes) -> bytes | None:
        """Return the name of the oldest entry of the stream, if it is none after `last`."""
        return _name(self._client.xrange(stream.STREAM, max=last, count=1))


def _name(entries: list[tuple[bytes, Any]]) -> bytes | None:
    """Return the name of the one entry; None when others have stored it meanwhile, or none was there."""
    return entries[0][0] if entries else None


def start(make: Callable[[], StandBy]) -> None:
    """Start the thread; it ends with its process."""

    def look() -> None:
        stand_by = make()
        while True:
            time.sleep(INTERVAL * random.uniform(1 - JITTER, 1 + JITTER))
            try:
                turns = stand_by.run()
            except (RedisError, StoringFailed) as error:
                log.warning("standing by failed", reason=type(error).__name__)
            else:
                if turns:
                    log.info("stored without tickets", turns=turns)

    threading.Thread(target=look, name="standby", daemon=True).start()
