"""Buffers the audit events of one process and appends them to Redis, from where the sweep stores them."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace

from redis.exceptions import RedisError

from ingest_api import metrics
from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from schema.audit.event import Action, Event, new_event, user_id
from schema.audit.waiting import APPEND_EVENTS, WAITING_MAX
from schema.runtime import logs
from schema.runtime.redis_clients import AsyncShardClient
from schema.settings import Settings

# Flush interval, seconds. A killed process loses the events of one interval, except those that were awaited.
AUDIT_FLUSH_INTERVAL = 0.1

# Pause (seconds) after a write that failed.
AUDIT_RETRY_INTERVAL = 1.0

# Most events that one process keeps while Redis is away; further ones are dropped and counted.
EVENTS_BUFFERED_MAX = 1000

log = logs.get(__name__)


class AuditTrail:
    """The audit trail's end in the API. Use it from the event loop. No method makes a request fail."""

    def __init__(self, settings: Settings, shard: AsyncShardClient) -> None:
        """Take a client that nobody else uses, so that no lead waits behind it; `close` closes it."""
        self._addresses = ClientAddresses(settings.trusted_proxies, ())
        self._redis = shard.client
        self._append = shard.client.register_script(APPEND_EVENTS.source)
        self._keys = APPEND_EVENTS.keys(shard.shard)
        self._buffer: list[Event] = []
        self._lock = asyncio.Lock()
        self._retry_at = 0.0  # time.monotonic() before which nothing is written
        self._timer: asyncio.TimerHandle | None = None
        self._flusher: asyncio.Task[None] | None = None

    def note(
        self,
        req: Request,
        action: Action,
        *,
        user: str = "",
        parameters: Iterable[str] = (),
        row_count: int | None = None,
        subject: str = "",
    ) -> Event:
        """Buffer an event and return it. `user` is an address, by default the one in the request's token.

        `parameters` are names, never values. Redis has the event within AUDIT_FLUSH_INTERVAL, if it answers.
        """
        address = user or req.context.user
        event = new_event(
            action,
            user=user_id(address) if address else "",
            client=self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For")),
            parameters=parameters,
            row_count=row_count,
            subject=subject,
            request_id=req.context.request_id,
        )
        self._keep(event)
        return event

    def count(self, event: Event, row_count: int) -> None:
        """Buffer the number of rows of an event that was noted or written without it."""
        self._keep(replace(event, row_count=row_count))

    async def write(
        self,
        req: Request,
        action: Action,
        *,
        parameters: Iterable[str] = (),
        row_count: int | None = None,
        subject: str = "",
    ) -> Event:
        """Note an event, return it once it is durable in Redis, or once Redis has refused it or is away."""
        event = self.note(req, action, parameters=parameters, row_count=row_count, subject=subject)
        await self._flush()
        return event

    async def close(self) -> None:
        """Write what is left, if Redis takes it, and close the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._retry_at = 0.0
        await self._flush()
        await self._redis.aclose()

    def _keep(self, event: Event) -> None:
        if len(self._buffer) >= EVENTS_BUFFERED_MAX:
            metrics.AUDIT_LOST.inc()
            return
        self._buffer.append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AUDIT_FLUSH_INTERVAL, self._due)

    def _due(self) -> None:
        self._timer = None
        self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Write the buffer. Whoever awaits it knows that what was buffered before is written, or was tried."""
        async with self._lock:
            if not self._buffer or time.monotonic() < self._retry_at:
                self._try_later()
                return
            events, self._buffer = self._buffer, []
            try:
                refused = await self._append(self._keys, [WAITING_MAX, *(each.encode() for each in events)])
            except (RedisError, OSError) as error:
                log.warning("audit events not written yet", events=len(events), reason=type(error).__name__)
                self._retry_at = time.monotonic() + AUDIT_RETRY_INTERVAL
                self._give_back(events)
                return
            except asyncio.CancelledError:
                # Redis may have them: the table takes an event once.
                self._give_back(events)
                raise
        if refused:
            log.error("audit events lost: too many wait to be stored", events=refused)
            metrics.AUDIT_LOST.inc(refused)

    def _give_back(self, events: list[Event]) -> None:
        self._buffer = events + self._buffer
        lost = len(self._buffer) - EVENTS_BUFFERED_MAX
        if lost > 0:
            del self._buffer[EVENTS_BUFFERED_MAX:]
            metrics.AUDIT_LOST.inc(lost)
        self._try_later()

    def _try_later(self) -> None:
        if self._buffer and self._timer is None:
            pause = max(self._retry_at - time.monotonic(), AUDIT_FLUSH_INTERVAL)
            self._timer = asyncio.get_running_loop().call_later(pause, self._due)
