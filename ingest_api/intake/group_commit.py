"""Group commit: requests in flight together share one round trip to Redis.

While one flush is on the wire, the next one fills. A lone request is flushed at once; after a
flush that several requests shared, the next one is delayed by FLUSH_DELAY to collect more.
Redis runs with `appendfsync always`: a flush is on disk when it is answered, and its requests
share that fsync.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from ingest_api import metrics
from ingest_api.intake.append import (
    AppendRequest,
    AppendResult,
    Verdict,
    append_script,
    arguments_of,
    refused_in,
    results_of,
)
from ingest_api.intake.redis_script import ScriptConnection
from schema.queue.script import Value
from schema.runtime import logs
from schema.runtime.confirmation import Topology, is_promoted
from schema.runtime.redis_errors import reason_of
from schema.settings import Settings
from schema.settings.shards import WHOLE, Shard

# Most leads and most bytes of payload in one flush, so that the script never blocks Redis for long.
FLUSH_LEADS = 1000
FLUSH_BYTES = 4 * 1024 * 1024

# Delay (seconds) of the flush after a shared one, so that more requests share it: the cost of a flush hardly depends
# on its size (docs/lab/2026-11-26-behind-the-constants.md).
FLUSH_DELAY = 0.001

# Makes the span of a flush of these requests.
TraceFlush = Callable[[Iterable[AppendRequest]], AbstractContextManager[object]]

log = logs.get(__name__)


class QueueUnavailable(Exception):
    """Redis did not confirm the flush. Its leads may have been written, but no client has got a 202 for them."""


class NotSent(QueueUnavailable):
    """Redis was not reached. Nothing of the request was written."""


def untraced(_: Iterable[AppendRequest]) -> AbstractContextManager[object]:
    """Make no span."""
    return _UNTRACED


_UNTRACED = nullcontext()


class _Waiting(NamedTuple):
    request: AppendRequest
    future: asyncio.Future[AppendResult]


class GroupCommit:
    """Appends the leads of one process to the stream of a shard. Use it from the event loop that made it.

    After each flush that appended leads, `on_flush` is called with their number and, as of
    that flush, the leads waiting and the tickets waiting.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        settings: Settings,
        on_flush: Callable[[int, int, int], None],
        shard: Shard = WHOLE,
        waiting_elsewhere: Callable[[], int] = lambda: 0,
        trace_flush: TraceFlush = untraced,
    ) -> None:
        """Take the shard that the client leads to, and what tells how many leads wait in the others."""
        self.waiting = 0  # leads in the stream, as of the last flush
        self.is_away = False  # whether the last flush failed
        self._shard = shard
        self._waiting_elsewhere = waiting_elsewhere
        self._trace_flush = trace_flush
        script = append_script(shard, has_tickets=shard.url == settings.tickets_url)
        self._connection = ScriptConnection(client, script)
        self._topology = Topology(shard)
        self._queue_max = settings.queue_max
        self._head: list[Value] = [
            settings.rate_limit,
            settings.bulk_limit,
            settings.rate_limit_window * 1000,
            settings.idempotency_ttl,
            settings.duplicate_days,
            # No longer than they count for anybody.
            min(settings.duplicate_redis_days, max(settings.duplicate_days, 1)),
        ]
        self._on_flush = on_flush
        self._timeout = settings.redis_timeout
        self._replicas = settings.redis_replicas
        self._on_disk = settings.redis_replicas_in == "disk"
        self._next: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None

    async def submit(self, request: AppendRequest) -> AppendResult:
        """Put a request into the next flush and wait for its result.

        On return with APPENDED the leads are in the stream, as durable as Redis's `appendfsync`
        makes them, and in memory or on disk on the configured number of replicas.

        Raises QueueUnavailable within twice the Redis timeout; NotSent when nothing was written.
        """
        future: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._next.append(_Waiting(request, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all())
        return await future

    async def close(self) -> None:
        """Wait for the flushes under way, then close the connection."""
        if self._flusher is not None:
            await self._flusher
        await self._connection.close()

    async def _flush_all(self) -> None:
        try:
            shared = False
            while self._next:
                if shared:
                    await asyncio.sleep(FLUSH_DELAY)
                batch = self._take()
                shared = len(batch) > 1
                try:
                    await self._flush(batch)
                except QueueUnavailable as error:
                    await self._fail(batch, error)
                except BaseException:
                    await self._fail(batch, QueueUnavailable("stopped"))
                    raise
        finally:
            self._flusher = None

    def _take(self) -> list[_Waiting]:
        """Remove and return the requests of the next flush: at least one, then as many as the bounds allow."""
        leads = size = taken = 0
        for waiting in self._next:
            leads += len(waiting.request.leads)
            size += sum(len(lead.payload) for lead in waiting.request.leads)
            if taken and (leads > FLUSH_LEADS or size > FLUSH_BYTES):
                break
            taken += 1
        batch, self._next = self._next[:taken], self._next[taken:]
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        requests = arguments_of((waiting.request for waiting in batch), self._shard)
        most = max(0, self._queue_max - self._waiting_elsewhere())
        arguments: list[Value] = [most, *self._head, len(batch), *requests]
        is_sent = False
        with metrics.FLUSH_SECONDS.time(), self._trace_flush(waiting.request for waiting in batch):
            try:
                async with asyncio.timeout(self._timeout):
                    await self._connection.connect()
                    is_sent = True
                    reply = await self._run(arguments)
            except (RedisError, OSError, TimeoutError) as error:
                raise (QueueUnavailable if is_sent else NotSent)(reason_of(error)) from None
        metrics.FLUSH_REQUESTS.observe(len(batch))
        self.is_away, self.waiting = False, reply[0]
        appended = 0
        for waiting, result in zip(batch, results_of(reply), strict=True):
            if result.verdict is Verdict.APPENDED:
                accepted = len(waiting.request.leads) - refused_in(waiting.request, result)
                appended += accepted
                if waiting.request.source is not None:
                    metrics.SOURCE_ACCEPTED.labels(waiting.request.source.name).inc(accepted)
            if not waiting.future.done():
                waiting.future.set_result(result)
        if appended:
            metrics.LEADS_ACCEPTED.inc(appended)
            self._on_flush(appended, reply[0], reply[1])

    async def _run(self, arguments: list[Value]) -> list[Any]:
        answer = await self._connection.run(arguments)
        if self._replicas:
            half = int(self._timeout * 1000 / 2)
            found = await self._connection.wait_for_replicas(self._replicas, half, on_disk=self._on_disk)
            if found < self._replicas:
                raise QueueUnavailable(f"{found} of {self._replicas} replicas")
            if self._topology.is_needed:
                await self._check_topology()
        return answer

    async def _check_topology(self) -> None:
        """Raise QueueUnavailable while the primary that has confirmed the flush is being replaced."""
        left = self._topology.left(*await self._connection.role())
        if left and any(
            await asyncio.gather(*(asyncio.to_thread(is_promoted, self._shard, replica) for replica in left))
        ):
            self._topology.distrust()
        if not self._topology.is_settled:
            raise QueueUnavailable("a replica was promoted")

    async def _fail(self, batch: list[_Waiting], error: QueueUnavailable) -> None:
        """Fail the requests of the flush and all that wait for the next one, which would run into the same timeout."""
        unsent, self._next = self._next, []
        reason = str(error)
        # The probes of a shard that is known to be away say nothing new.
        if not self.is_away or any(waiting.request.leads for waiting in batch + unsent):
            metrics.FLUSH_FAILURES.inc()
            log.error("flush failed", reason=reason, shard=self._shard.number, requests=len(batch) + len(unsent))
        self.is_away = True
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(type(error)(reason))
        for waiting in unsent:
            if not waiting.future.done():
                waiting.future.set_exception(NotSent(reason))
        await self._connection.drop()
