"""The sweep: copies the counts that must outlive Redis, stores audit events, deletes old keys, consumers and requests.

It stores no leads.
"""

import time
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.counts.widths import DAY
from schema.database import idempotency
from schema.database.errors import reason_of
from schema.queue import accepted_counts
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import (
    ACCEPTED,
    FIRST_FIELD,
    GROUP,
    REQUEST_ERRORS,
    REQUEST_ERRORS_HELD,
    REQUESTS,
    REQUESTS_HELD,
    STREAM,
)
from schema.queue.script import Script
from schema.runtime import logs
from schema.settings import Settings
from workers.upkeep.audit_events import AuditEvents

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

    def __init__(self, client: redis.Redis, engine: Engine, settings: Settings) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        self._engine = engine
        self._forget = FORGET_CONSUMERS.register(client)
        self._audit_events = AuditEvents(client, engine)
        self._trim = TRIM_REQUESTS.register(client)
        self._key_ttl = settings.idempotency_ttl
        self._request_age = settings.request_log_age * DAY

    def run(self) -> dict[str, int]:
        """Copy the counts of accepted leads, store audit events, delete what is old; return how much was deleted.

        A step that Redis or the database refuses is left to the next sweep; `failed` has the number of those.
        """
        done = {"keys": 0, "consumers": 0}
        try:
            self._copy_accepted()
            done["keys"] = self._forget_keys()
        except SQLAlchemyError as error:
            done["failed"] = 1
            log.warning("sweep without the database", reason=reason_of(error))
        except RedisError as error:
            done["failed"] = 1
            log.warning("sweep cut short", reason=type(error).__name__)
        try:
            self._audit_events.move()
        except (SQLAlchemyError, RedisError) as error:
            done["failed"] = done.get("failed", 0) + 1
            log.warning("audit events not stored", reason=reason_of(error))
        try:
            done["consumers"] = self._forget_consumers()
            self._forget_requests()
        except RedisError as error:
            done["failed"] = done.get("failed", 0) + 1
            log.warning("sweep cut short", reason=type(error).__name__)
        return done

    def _copy_accepted(self) -> None:
        fresh = Accepted.parse(self._client.hgetall(ACCEPTED))
        if not fresh.numbers:
            return
        with self._engine.begin() as connection:
            accepted_counts.copy(connection, fresh)
            first = accepted_counts.is_first(connection, fresh.epoch)
        if first and not fresh.first:
            self._client.hset(ACCEPTED, FIRST_FIELD, 1)
        outdated = fresh.outdated(time.time())
        if outdated:
            self._client.hdel(ACCEPTED, *outdated)

    def _forget_keys(self) -> int:
        with self._engine.begin() as connection:
            return idempotency.forget(connection, self._key_ttl)

    def _forget_requests(self) -> None:
        self._trim(oldest=int((time.time() - self._request_age) * 1_000_000))

    def _forget_consumers(self) -> int:
        try:
            return int(self._forget(group=GROUP, idle=CONSUMER_IDLE * 1000))
        except ResponseError as error:
            # The group does not exist before the first batch.
            if "NOGROUP" not in str(error):
                raise
        return 0
