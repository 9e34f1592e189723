"""The probe: one real append, by the leads' script but to separate keys, before the API takes traffic."""

import time

from redis.exceptions import OutOfMemoryError, RedisError

from ingest_api.intake.append import append_script
from schema.lead.lead_id import micros_of, new_lead_id
from schema.queue.keys import PROBE_PREFIX
from schema.runtime import logs
from schema.runtime.redis_clients import blocking_redis
from schema.settings import Settings

# Interval (seconds) between two tries.
RETRY_INTERVAL = 0.5

log = logs.get(__name__)


class QueueTakesNothing(Exception):
    """Redis refuses an append, or does not answer. The message is one line that says why."""


def append_probe(settings: Settings, within: float) -> None:
    """Append an entry to a separate stream and delete it. Proves that Redis is writable and runs the script.

    Blocks: retries for `within` seconds while Redis refuses or does not answer. A Redis that is out of memory passes,
    since the API can still answer reads, and POSTs with 503. Raises QueueTakesNothing.
    """
    lead = new_lead_id()  # part of the keys, because several hosts may start at once
    second = micros_of(lead) // 1_000_000
    script = append_script(f"{PROBE_PREFIX}{lead.hex()}:")
    client = blocking_redis(settings, timeout=settings.redis_timeout)
    append = script.register(client)
    deadline = time.monotonic() + within
    try:
        while True:
            try:
                request = ["", 0, "", "", 0, 1, lead, second - second % 60, b"{}"]
                append(queue_max=1, rate_limit=0, bulk_limit=0, rate_window=1, key_ttl=1, requests=1, rest=request)
                client.delete(*script.keys)
                return
            except OutOfMemoryError:
                log.warning("the queue is full: POSTs are answered with 503 until it drains")
                return
            except RedisError as error:
                if time.monotonic() > deadline:
                    reason = str(error).partition("\n")[0]
                    raise QueueTakesNothing(f"{type(error).__name__}: {reason}") from None
                time.sleep(RETRY_INTERVAL)
    finally:
        client.close()
