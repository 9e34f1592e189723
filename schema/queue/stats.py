"""The state of the queue in numbers, read in one round trip."""

from typing import Any

import redis
from redis.exceptions import ResponseError

from schema.queue import keys


def read_queue(client: redis.Redis) -> dict[str, float]:
    """Return the numbers of leads, dead letters, tickets, sweeps, audit events and consumers by name.

    `oldest` and `audit_oldest` are the ages of the lead and the event that wait longest, in seconds; `memory` and
    `memory_max` are in bytes.

    Raises RedisError.
    """
    pipeline: Any = client.pipeline(transaction=False)
    pipeline.xlen(keys.STREAM)
    pipeline.xrange(keys.STREAM, count=1)
    pipeline.time()
    pipeline.xlen(keys.DEAD)
    pipeline.llen(keys.TICKETS)
    pipeline.llen(keys.SWEEPS)
    pipeline.xlen(keys.AUDIT)
    pipeline.xrange(keys.AUDIT, count=1)
    pipeline.info("memory")
    pipeline.xinfo_groups(keys.STREAM)
    *answers, groups = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    waiting, oldest, (seconds, micros), dead, tickets, sweeps, audit, audit_oldest, memory = answers
    if isinstance(groups, ResponseError):
        groups = []  # no stream yet, because no lead was ever accepted
    elif isinstance(groups, Exception):
        raise groups
    group: dict[str, Any] = next((each for each in groups if each["name"] == keys.GROUP.encode()), {})
    now = seconds + micros / 1_000_000
    return {
        "waiting": waiting,
        "pending": group.get("pending", 0),
        "oldest": _age(oldest, now),
        "dead": dead,
        "tickets": tickets,
        "sweeps": sweeps,
        "consumers": group.get("consumers", 0),
        "audit": audit,
        "audit_oldest": _age(audit_oldest, now),
        "memory": memory["used_memory"],
        "memory_max": memory["maxmemory"],
    }


def _age(oldest: list[tuple[bytes, Any]], now: float) -> float:
    """Return the seconds since the one entry was appended; 0 when there is none."""
    # An entry's name begins with its time in milliseconds, by Redis's clock.
    return max(0.0, now - int(oldest[0][0].partition(b"-")[0]) / 1000) if oldest else 0.0
