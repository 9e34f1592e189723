"""The probe: one real append, by the leads' script but to separate keys, before the API takes traffic."""

import time
from collections.abc import Sequence
from contextlib import suppress

import redis
from redis.exceptions import OutOfMemoryError, RedisError

from ingest_api.intake.append import AppendRequest, NewLead, append_script, arguments_of
from schema.lead.lead_id import new_lead_id
from schema.queue.keys import FENCE, PROBE_PREFIX
from schema.runtime import logs
from schema.runtime.redis_clients import blocking_redis
from schema.runtime.redis_errors import reason_of
from schema.settings import Settings
from schema.settings.shards import Shard

# Interval (seconds) between two tries.
RETRY_INTERVAL = 0.5

log = logs.get(__name__)


class QueueTakesNothing(Exception):
    """Redis refuses an append, or does not answer. The message is one line that says why."""


def append_probe(settings: Settings, within: float) -> None:
    """Append an entry to a separate stream of each shard and delete it. Proves that Redis is writable and runs scripts.

    Blocks: retries for `within` seconds while Redis refuses or does not answer. A Redis that is out of memory passes,
    since the API can still answer reads, and POSTs with 503. Of several shards one must take it; the others may be
    failing over. Raises QueueTakesNothing.
    """
    clients = [(shard, blocking_redis(shard, timeout=settings.redis_timeout)) for shard in settings.shards]
    deadline = time.monotonic() + within
    try:
        while True:
            _check_fences(settings, clients)
            failures = [error for shard, client in clients if (error := _append(shard, client)) is not None]
            if len(failures) < len(clients):
                for error in failures:
                    log.warning("a shard of the queue is away", reason=reason_of(error))
                return
            if time.monotonic() > deadline:
                error = failures[0]
                reason = str(error).partition("\n")[0]
                raise QueueTakesNothing(f"{type(error).__name__}: {reason}") from None
            time.sleep(RETRY_INTERVAL)
    finally:
        for _, client in clients:
            client.close()


def _check_fences(settings: Settings, clients: Sequence[tuple[Shard, redis.Redis]]) -> None:
    """Raise QueueTakesNothing when the queue was moved, and no setting says where to."""
    if settings.next_shards:
        return
    with suppress(RedisError):
        if any(client.exists(shard.name(FENCE)) for shard, client in clients):
            raise QueueTakesNothing("it was moved by `python -m schema queue reshard`, and this setting is of before")


def _append(shard: Shard, client: redis.Redis) -> RedisError | None:
    """Append to a shard once; return why it failed, or None."""
    lead = new_lead_id()  # part of the keys, because several hosts may start at once
    script = append_script(shard, f"{PROBE_PREFIX}{lead.hex()}:", has_tickets=False)
    append = script.register(client)
    limits = {"queue_max": 1, "rate_limit": 0, "bulk_limit": 0, "rate_window": 1, "key_ttl": 1}
    request = list(arguments_of([AppendRequest(leads=(NewLead(lead, b"{}"),))], shard))
    try:
        append(**limits, duplicate_days=0, duplicate_redis_days=1, requests=1, rest=request)
        client.delete(*script.keys())
    except OutOfMemoryError:
        log.warning("the queue is full: POSTs are answered with 503 until it drains")
    except RedisError as error:
        return error
    return None
