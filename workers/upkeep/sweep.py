"""The sweep: copies the counts that must outlive Redis, stores audit events, deletes old keys, consumers and requests.

It stores no leads.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.counts.widths import DAY
from schema.database import idempotency
from schema.database.errors import reason_of
from schema.queue.keys import GROUP, REQUEST_ERRORS, REQUEST_ERRORS_HELD, REQUESTS, REQUESTS_HELD, STREAM
from schema.queue.script import Script
from schema.runtime import logs
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings
from workers.upkeep.audit_events import AuditEvents
from workers.upkeep.counts_copy import CountsCopy

# Idle time (seconds) after which a consumer with nothing pending is removed; Redis makes it again if its process lives.
CONSUMER_IDLE = 3600

FORGET_CONSUMERS = Script(
    Path(__file__).parent / "forget_consumers.lua", keys={"STREAM": STREAM}, arguments=("group", "idle")
)

TRIM_REQUESTS = Script(
    Path(__file__).parent / "trim_requests.lua",
    keys={
        "REQUESTS": REQUESTS,
        "REQUESTS_HELD": REQUESTS_HELD,
        "REQUEST_ERRORS": REQUEST_ERRORS,
        "REQUEST_ERRORS_HELD": REQUEST_ERRORS_HELD,
    },
    arguments=("oldest",),
)

log = logs.get(__name__)


class Sweep:
    """The sweep task, which beat sends every few seconds. Make it after the fork."""

    def __init__(self, shards: Sequence[ShardClient], engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._copy = CountsCopy(shards, engine, settings)
        self._forget = [FORGET_CONSUMERS.register(client, shard) for shard, client in shards]
        # The first shard of each queue has what belongs to no lead.
        first = [each for each in shards if each.shard.number == 0]
        self._audit_events = [AuditEvents(each, engine) for each in first]
        self._trim = [TRIM_REQUESTS.register(client, shard) for shard, client in first]
        self._key_ttl = settings.idempotency_ttl
        self._request_age = settings.request_log_age * DAY

    def run(self) -> dict[str, int]:
        """Copy the counts of accepted leads, store audit events, delete what is old; return how much was deleted.

        A step that Redis or the database refuses is left to the next sweep; `failed` has the number of those.
        """
        done = {"keys": 0, "consumers": 0}
        steps: dict[str, Callable[[], int]] = {
            "counts": self._copy.run,
            "keys": self._forget_keys,
            "events": self._move_events,
            "consumers": self._forget_consumers,
            "requests": self._forget_requests,
        }
        for name, step in steps.items():
            try:
                number = step()
            except (SQLAlchemyError, RedisError) as error:
                done["failed"] = done.get("failed", 0) + 1
                log.warning("sweep cut short", step=name, reason=reason_of(error))
            else:
                if name in done:
                    done[name] = number
        return done

    def _forget_keys(self) -> int:
        with self._engine.begin() as connection:
            return idempotency.forget(connection, self._key_ttl)

    def _move_events(self) -> int:
        return sum(each.move() for each in self._audit_events)

    def _forget_requests(self) -> int:
        oldest = int((time.time() - self._request_age) * 1_000_000)
        return sum(int(trim(oldest=oldest)) for trim in self._trim)

    def _forget_consumers(self) -> int:
        return sum(map(_forget, self._forget))


def _forget(script: Callable[..., Any]) -> int:
    """Remove the idle consumers of one shard; return how many."""
    try:
        return int(script(group=GROUP, idle=CONSUMER_IDLE * 1000))
    except ResponseError as error:
        # The group does not exist before the first batch.
        if "NOGROUP" not in str(error):
            raise
    return 0
