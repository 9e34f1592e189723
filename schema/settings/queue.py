"""Redis, and what the queue keeps."""

from dataclasses import dataclass

from marshmallow.validate import OneOf

from schema.settings.declare import check_broker_url, check_redis_url, number, setting
from schema.settings.shards import SHARDS_MAX

# Two years.
DUPLICATE_DAYS_MAX = 730


@dataclass(frozen=True)
class QueueSettings:
    """Redis, and what the queue keeps."""

    redis_url: str = setting(
        "",
        "Redis that holds the queue: `redis://`, `rediss://`, `unix://`, under Sentinel "
        "`redis+sentinel://[user:password@]host[:port],host[:port]/NAME`, or a Cluster "
        "`redis+cluster://[user:password@]host[:port],host[:port]`. Empty: an embedded server under the data dir.",
        check=check_redis_url,
    )
    queue_shards: int = number(
        1,
        "Shards of the queue. More than one are for a Redis Cluster: one for each primary, or a multiple. "
        "`python -m schema queue reshard` changes the number without losing what waits.",
        unit="shards",
        low=1,
        high=SHARDS_MAX,
    )
    queue_next_url: str = setting(
        "",
        "Redis of the queue that `python -m schema queue reshard` moves to. Empty: the same as now.",
        check=check_redis_url,
    )
    queue_next_shards: int = number(
        0,
        "Shards of the queue that is moved to. 0: none is.",
        unit="shards",
        low=0,
        high=SHARDS_MAX,
    )
    broker_url: str = setting(
        "",
        "Redis of Celery's messages, which may be lost: as LEADS_REDIS_URL, but no Cluster. Empty: the queue's.",
        check=check_broker_url,
    )
    redis_timeout: float = number(
        0.9,
        "Longest wait for Redis in a request, after which it is answered with 503.",
        unit="seconds",
        low=0.05,
        high=60,
        kind="float",
    )
    redis_replicas: int = number(
        0,
        "Replicas of Redis that must have a lead before its 202. With 0 a failover can lose the last leads.",
        unit="replicas",
        low=0,
        high=8,
    )
    redis_replicas_in: str = setting(
        "memory",
        "Where they must have it: `memory` (WAIT; the primary has it on disk), or `disk` (WAITAOF, Redis 7.2 or later; "
        "the replicas need `appendfsync always`, which is checked at the start).",
        check=OneOf(["memory", "disk"]),
    )
    queue_max: int = number(5_000_000, "Leads waiting, past which POSTs are answered with 503.", unit="leads", low=1)
    duplicate_days: int = number(
        0,
        "Days within which a lead with the same e-mail address or telephone number is a duplicate. 0: duplicates are "
        "not looked for. Only with one shard.",
        unit="days",
        low=0,
        high=DUPLICATE_DAYS_MAX,
    )
    duplicate_redis_days: int = number(
        30,
        "Of these the days that Redis remembers, which cost memory. What is older is looked up in the database "
        "when the row is written: too late for the 202.",
        unit="days",
        low=1,
        high=DUPLICATE_DAYS_MAX,
    )
    idempotency_ttl: int = number(86400, "Time an Idempotency-Key is remembered.", unit="seconds", low=1)
