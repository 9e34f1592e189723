"""The state of the queue in numbers, read in one round trip to each shard and one to the broker."""

from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from schema.queue import keys
from schema.runtime.redis_clients import ShardClient
from schema.runtime.redis_replicas import replicas_in
from schema.settings.shards import Shard

# What is added up over the shards, and of what the largest counts.
ADDED = ("waiting", "pending", "dead", "audit", "memory", "memory_max")
LARGEST = ("oldest", "audit_oldest", "consumers", "replica_lag", "out_of_memory")


def read_queue(shards: Sequence[ShardClient], broker: redis.Redis) -> dict[str, float]:
    """Return the numbers of leads, dead letters, tickets, sweeps, audit events and consumers by name.

    `oldest` and `audit_oldest` are the ages of the lead and the event that wait longest, in seconds; `storing_delay` is
    the time from acceptance to acknowledgement in the last batch, in seconds, left out when there was none lately;
    `out_of_memory` is 1 when a server is;
    `memory` and `memory_max` are in bytes, of each server once for each of its shards; `replicas` are those of the
    shard that has the fewest, and `replica_lag` is in bytes. Without tickets and sweeps when the broker does not
    answer, which may be another server.

    Of several shards those that are away are left out. Raises RedisError when all are.
    """
    found, failure = [], None
    for each in shards:
        try:
            found.append(read_shard(*each))
        except RedisError as error:
            failure = error
    if failure is not None and not found:
        raise failure
    numbers = {name: sum(each[name] for each in found) for name in ADDED}
    numbers |= {name: max(each[name] for each in found) for name in LARGEST}
    numbers["replicas"] = min(each["replicas"] for each in found)
    stored = [each for each in found if "storing_delay" in each]
    if stored:
        numbers["storing_delay"] = max(stored, key=itemgetter("stored_at"))["storing_delay"]
    pipeline: Any = broker.pipeline(transaction=False)
    with suppress(RedisError):
        numbers["tickets"], numbers["sweeps"] = pipeline.llen(keys.TICKETS).llen(keys.SWEEPS).execute()
    return numbers


def read_shard(shard: Shard, client: redis.Redis) -> dict[str, float]:
    """Return the numbers of one shard, without those of the broker. Raises RedisError.

    `stored_at` is the time of its last batch, in milliseconds by Redis's clock, left out with `storing_delay`.
    """
    pipeline: Any = client.pipeline(transaction=False)
    stream, audit_stream = shard.name(keys.STREAM), shard.name(keys.AUDIT)
    pipeline.xlen(stream)
    pipeline.xrange(stream, count=1)
    pipeline.time()
    pipeline.xlen(shard.name(keys.DEAD))
    pipeline.xlen(audit_stream)
    pipeline.xrange(audit_stream, count=1)
    pipeline.info("memory")
    pipeline.info("replication")
    pipeline.get(shard.name(keys.STORING_DELAY))
    pipeline.xinfo_groups(stream)
    *answers, groups = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    waiting, oldest, (seconds, micros), dead, audit, audit_oldest, memory, replication, delay = answers
    replicas = replicas_in(replication)
    if isinstance(groups, ResponseError):
        groups = []  # no stream yet, because no lead was ever accepted
    elif isinstance(groups, Exception):
        raise groups
    group: dict[str, Any] = next((each for each in groups if each["name"] == keys.GROUP.encode()), {})
    now = seconds + micros / 1_000_000
    numbers = {
        "waiting": waiting,
        "pending": group.get("pending", 0),
        "oldest": _age(oldest, now),
        "dead": dead,
        "consumers": group.get("consumers", 0),
        "audit": audit,
        "audit_oldest": _age(audit_oldest, now),
        "memory": memory["used_memory"],
        "memory_max": memory["maxmemory"],
        "out_of_memory": bool(memory["maxmemory"] and memory["used_memory"] >= memory["maxmemory"]),
        "replicas": len(replicas),
        "replica_lag": max((each.lag_bytes for each in replicas), default=0),
    }
    if delay is not None:
        milliseconds, stored_at = map(int, delay.split(b":"))
        numbers |= {"storing_delay": milliseconds / 1000, "stored_at": stored_at}
    return numbers


def _age(oldest: list[tuple[bytes, Any]], now: float) -> float:
    """Return the seconds since the one entry was appended; 0 when there is none."""
    # An entry's name begins with its time in milliseconds, by Redis's clock.
    return max(0.0, now - int(oldest[0][0].partition(b"-")[0]) / 1000) if oldest else 0.0
