"""The shards of the queue: on which server each is, and the hash tag that keeps its keys together there."""

import zlib
from functools import cache
from typing import NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

# Most shards of a queue.
SHARDS_MAX = 64

# What all keys of schema.queue.keys begin with.
KEY_PREFIX = "leads:"


class Shard(NamedTuple):
    """One shard. Its keys share a hash tag, so that Redis Cluster keeps them in one slot."""

    url: str = ""  # of the queue, as in LEADS_REDIS_URL
    number: int = 0  # within its queue
    tag: str = ""  # empty: the only shard of a queue that is no Cluster, whose keys have no tag

    def name(self, key: str) -> str:
        """Return the shard's name of a key of schema.queue.keys, or of a prefix."""
        return f"{KEY_PREFIX}{{{self.tag}}}:{key.removeprefix(KEY_PREFIX)}" if self.tag else key

    @property
    def slot(self) -> int:
        """The slot of its keys in a Redis Cluster."""
        return int(key_slot(self.tag.encode()))


# The whole queue, where it has one shard.
WHOLE = Shard()


def shards_of(url: str, number: int, *, is_cluster: bool) -> tuple[Shard, ...]:
    """Return the shards of the queue at `url`."""
    if number == 1 and not is_cluster:
        return (Shard(url),)
    return tuple(Shard(url, shard, tag_of(shard, number)) for shard in range(number))


def home_of(name: str, shards: int) -> int:
    """Return the number of the shard that has a key: of an Idempotency-Key, or of a client's rate limit."""
    return zlib.crc32(name.encode()) % shards


@cache
def tag_of(shard: int, shards: int) -> str:
    """Return the hash tag of a shard: a number whose slot is near the middle of the shard's part of all slots.

    A new Cluster gives each primary one contiguous part, so the shards fall evenly on the primaries. The number's
    remainder by SHARDS_MAX + 1 is the number of shards: queues with other numbers share no key.
    """
    part = REDIS_CLUSTER_HASH_SLOTS // shards
    middle = shard * part + part // 2
    number = shards
    while abs(key_slot(str(number).encode()) - middle) > part // 4:
        number += SHARDS_MAX + 1
    return str(number)
