"""The lease of a slot: which of a bucket's rows this process adds to, so that it waits for nobody else's COMMIT.

Two writers of one slot are correct, only slower: each waits until the other has committed.
"""

import math
import random
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from schema.counts.widths import SLOTS
from schema.queue.keys import SLOT_PREFIX
from schema.runtime.redis_clients import ShardClient

# Life of a lease, and the interval of its renewal, seconds. A dead process's slot is free again after the first.
LEASE = 60.0
RENEWAL = 20.0


class SlotLease:
    """Holds the lowest free slot, so that few workers make few rows. Make it after the fork."""

    def __init__(self, shard: ShardClient, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the shard that keeps the leases, and a name for the holder that no other process has."""
        self._client: Any = shard.client  # redis-py's types do not say whether text or bytes are returned
        self._keys = [f"{shard.shard.name(SLOT_PREFIX)}{slot}" for slot in range(SLOTS)]
        self._holder = holder.encode()
        self._clock = clock
        self._slot: int | None = None
        self._renew_at = -math.inf

    def slot(self) -> int:
        """Return the slot, from 0 to SLOTS - 1; take or renew the lease when that is due.

        Any slot when all are taken or Redis does not answer.
        """
        if self._clock() >= self._renew_at:
            try:
                renewed = self._renewed()
                self._slot = self._free() if renewed is None else renewed
            except RedisError:
                self._slot = None
            self._renew_at = self._clock() + RENEWAL
        return random.randrange(SLOTS) if self._slot is None else self._slot

    def _renewed(self) -> int | None:
        if self._slot is None or self._client.get(self._keys[self._slot]) != self._holder:
            return None
        self._client.pexpire(self._keys[self._slot], int(LEASE * 1000))
        return self._slot

    def _free(self) -> int | None:
        holders = self._client.mget(self._keys)
        for slot, holder in enumerate(holders):
            if holder is None and self._client.set(self._keys[slot], self._holder, nx=True, px=int(LEASE * 1000)):
                return slot
        return None
