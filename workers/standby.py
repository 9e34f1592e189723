"""Stores what waits when no message can say so: beat is dead, or a full Redis takes no more messages.

A Redis that is out of memory still gives leads out and lets them go. Each pool process looks
by itself every now and then; it needs no message for that, and what it stores makes room.
"""

import random
import threading
import time
from collections.abc import Callable

import redis
from redis.exceptions import RedisError

from schema import logs, stream
from schema.tickets import QUEUE
from workers.storing import Storing, StoringFailed

# Seconds between two looks, and the share by which they differ between processes.
INTERVAL = 5.0
JITTER = 0.3

log = logs.get(__name__)


class StandBy:
    """Runs in a thread of a pool process. Make it after the fork, with a Storing of its own."""

    def __init__(self, client: redis.Redis, storing: Storing) -> None:
        self._client = client
        self._storing = storing

    def run(self) -> int:
        """Store batch after batch while leads wait and no ticket does; return how many batches held anything.

        Raises RedisError and StoringFailed.
        """
        batches = 0
        while self._client.xlen(stream.STREAM) and not self._client.llen(QUEUE):
            if not any(self._storing.run().values()):
                break
            batches += 1
        return batches


def start(make: Callable[[], StandBy]) -> None:
    """Start the thread; it ends with its process."""

    def look() -> None:
        stand_by = make()
        while True:
            time.sleep(INTERVAL * random.uniform(1 - JITTER, 1 + JITTER))
            try:
                batches = stand_by.run()
            except (RedisError, StoringFailed) as error:
                log.warning("standing by failed", reason=type(error).__name__)
            else:
                if batches:
                    log.info("stored without tickets", batches=batches)

    threading.Thread(target=look, name="standby", daemon=True).start()
