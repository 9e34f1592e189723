"""The sweep: what tickets alone would leave undone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.database import idempotency
from schema.database.errors import reason_of
from schema.queue import accepted, stream
from schema.queue.accepted import Accepted
from schema.queue.tickets import QUEUE, tickets_missing
from schema.runtime import logs
from schema.settings import Settings

# Most tickets published by one sweep: behind each full batch the next is published anyway.
TICKETS_MAX = 100

# A pool process that did nothing for this long (seconds) and has nothing pending is taken to be gone. It may come back.
CONSUMER_IDLE = 3600

FORGET_CONSUMERS = (Path(__file__).parent / "forget_consumers.lua").read_text()

log = logs.get(__name__)


class Sweeping:
    """Runs every few seconds, sent by beat. Make it after the fork."""

    def __init__(self, client: redis.Redis, engine: Engine, settings: Settings, *, publish: Callable[[], None]) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back
        self._engine = engine
        self._batch_size = settings.batch_size
        self._forget = client.register_script(FORGET_CONSUMERS)
        self._key_life = settings.idempotency_ttl
        self._publish = publish

    def run(self) -> dict[str, int]:
        """Publish tickets when leads wait and no ticket does; copy the counts of accepted leads; forget what is old."""
        published = 0
        try:
            published = self._publish_missing()
            self._copy_accepted()
            self._forget_keys()
            self._forget_consumers()
        except (RedisError, OperationalError, OSError) as error:
            log.warning("sweep cut short", reason=type(error).__name__)
        except SQLAlchemyError as error:
            log.warning("sweep without the database", reason=reason_of(error))
        return {"tickets": published}

    def _publish_missing(self) -> int:
        waiting, tickets = self._client.xlen(stream.STREAM), self._client.llen(QUEUE)
        if tickets:
            return 0
        missing = min(tickets_missing(waiting, tickets, self._batch_size), TICKETS_MAX)
        for _ in range(missing):
            self._publish()
        return missing

    def _copy_accepted(self) -> None:
        fresh = Accepted.parse(self._client.hgetall(stream.ACCEPTED))
        if not fresh.numbers:
            return
        with self._engine.begin() as connection:
            accepted.copy(connection, fresh)
            first = accepted.is_first(connection, fresh.epoch)
        if first and not fresh.first:
            self._client.hset(stream.ACCEPTED, accepted.FIRST_FIELD, 1)
        outdated = fresh.outdated(time.time())
        if outdated:
            self._client.hdel(stream.ACCEPTED, *outdated)

    def _forget_consumers(self) -> None:
        try:
            self._forget(keys=[stream.STREAM], args=[stream.GROUP, int(CONSUMER_IDLE * 1000)])
        except ResponseError as error:
            # There is no group before the first batch.
            if "NOGROUP" not in str(error):
                raise

    def _forget_keys(self) -> None:
        with self._engine.begin() as connection:
            idempotency.forget(connection, self._key_life)
