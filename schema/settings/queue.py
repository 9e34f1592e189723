"""Redis, and what the queue keeps."""

from dataclasses import dataclass

from marshmallow.validate import OneOf

from schema.settings.declare import check_redis_url, number, setting


@dataclass(frozen=True)
class QueueSettings:
    """Redis, and what the queue keeps."""

    redis_url: str = setting(
        "",
        "Redis that holds the queue: `redis://`, `rediss://`, `unix://`, or under Sentinel "
        "`redis+sentinel://[user:password@]host[:port],host[:port]/NAME`. "
        "Empty: an embedded server under the data dir.",
        check=check_redis_url,
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
    idempotency_ttl: int = number(86400, "Time an Idempotency-Key is remembered.", unit="seconds", low=1)
