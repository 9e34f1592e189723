"""Group commit: requests that are in flight together share one round trip to Redis.

While one flush is on the wire, the next one fills. A lone request waits for nobody; only
behind a flush that several requests shared does the next one wait a moment for more.
Redis runs with `appendfsync always`: a flush is on disk when it is answered, and all the
requests in it have shared that fsync.
"""

import asyncio
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from ingest_api import metrics
from ingest_api.intake.redis_script import Argument, ScriptConnection
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.queue.stream import ACCEPTED, INDEX, STREAM
from schema.queue.tickets import QUEUE
from schema.runtime import logs
from schema.settings import Settings

KEYS = (STREAM, INDEX, ACCEPTED, QUEUE)
SCRIPT = (Path(__file__).parent / "append.lua").read_text()

# Bounds on one flush, so that Redis is never held up for long: leads, and bytes of payload.
FLUSH_LEADS = 1000
FLUSH_BYTES = 4 * 1024 * 1024

# Seconds that a flush waits for more, after one that was shared. A flush costs Redis and us 300 µs, whatever is in it:
# with 32 clients this saves a tenth of the processor time of a lead, and they are answered sooner.
LINGER = 0.001

_FIELDS = 4  # of the script's answer, for each operation

log = logs.get(__name__)


class QueueUnavailable(Exception):
    """Redis did not take the flush. Whether it was written is unknown; no lead in it was promised."""


class Verdict(enum.IntEnum):
    """What the script did with an operation. Its numbers are those in append.lua."""

    DONE = 0
    LIMITED = 1
    FULL = 2
    REPEATED = 3
    CONFLICT = 4
    UNSURE = 5  # Redis may have forgotten the key: ask the database, and come again


_VERDICTS = tuple(Verdict)  # by number; Verdict(number) would take longer than all the rest of an answer


class Lead(NamedTuple):
    """A lead to append: its id and its JSON."""

    id: LeadId
    payload: bytes


class Operation(NamedTuple):
    """What one request asks of a flush: be counted, and have leads appended, all of them or none."""

    rate_key: str = ""  # empty: not limited
    leads: tuple[Lead, ...] = ()
    key: str = ""  # of the idempotency record; empty: none
    digest: bytes = b""  # SHA-256 of the lead's fields
    unknown: bool = False  # whether the database was asked and does not know the key


class Answer(NamedTuple):
    """What became of an operation."""

    verdict: Verdict
    used: int  # requests in the client's window, this one included; 0 when not limited
    window_left: int  # milliseconds
    id: LeadId  # the lead's, when its key was used before; else empty


class _Waiting(NamedTuple):
    operation: Operation
    future: asyncio.Future[Answer]


class GroupCommit:
    """One process's line to the queue. Use it from the event loop that made it.

    `on_appended` is called after each flush that appended leads, with their number, the
    leads waiting and the tickets waiting, all as of that flush.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        settings: Settings,
        on_appended: Callable[[int, int, int], None],
    ) -> None:
        self._connection = ScriptConnection(client, SCRIPT)
        self._head: list[Argument] = [
            settings.queue_max,
            settings.rate_limit,
            settings.rate_limit_window * 1000,
            settings.idempotency_ttl,
        ]
        self._on_appended = on_appended
        self._timeout = settings.redis_timeout
        self._replicas = settings.redis_replicas
        self._next: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None

    async def submit(self, operation: Operation) -> Answer:
        """Put an operation into the next flush and wait for its answer.

        On return with DONE, the operation's leads are in the stream, as durable as Redis's
        `appendfsync` makes them.

        Raises QueueUnavailable within twice the Redis timeout.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._next.append(_Waiting(operation, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all())
        return await future

    async def close(self) -> None:
        """Wait for what is under way, then close the connection."""
        if self._flusher is not None:
            await self._flusher
        await self._connection.close()

    async def _flush_all(self) -> None:
        try:
            shared = False
            while self._next:
                if shared:
                    await asyncio.sleep(LINGER)
                batch = self._take()
                shared = len(batch) > 1
                try:
                    await self._flush(batch)
                except (RedisError, OSError, TimeoutError, QueueUnavailable) as error:
                    await self._fail(batch, error)
                except BaseException:
                    await self._fail(batch, QueueUnavailable("stopped"))
                    raise
        finally:
            self._flusher = None

    def _take(self) -> list[_Waiting]:
        """Take the next flush's operations off the line: always one, then as many as the bounds allow."""
        leads = size = taken = 0
        for waiting in self._next:
            leads += len(waiting.operation.leads)
            size += sum(len(lead.payload) for lead in waiting.operation.leads)
            if taken and (leads > FLUSH_LEADS or size > FLUSH_BYTES):
                break
            taken += 1
        batch, self._next = self._next[:taken], self._next[taken:]
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        arguments: list[Argument] = [*self._head, len(batch)]
        for waiting in batch:
            operation = waiting.operation
            arguments += (
                operation.rate_key,
                operation.key,
                operation.digest,
                int(operation.unknown),
                len(operation.leads),
            )
            for lead in operation.leads:
                second = lead_id.micros_of(lead.id) // 1_000_000
                arguments += (lead.id, second - second % 60, lead.payload)
        with metrics.FLUSH_SECONDS.time():
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()
                reply = await self._run(arguments)
        metrics.FLUSH_OPERATIONS.observe(len(batch))
        appended = 0
        numbers = iter(reply[2:])
        for waiting, (verdict, used, left, known) in zip(batch, zip(*[numbers] * _FIELDS, strict=True), strict=True):
            answer = Answer(_VERDICTS[verdict], used, left, known)
            if verdict == Verdict.DONE:
                appended += len(waiting.operation.leads)
            if not waiting.future.done():
                waiting.future.set_result(answer)
        if appended:
            metrics.ACCEPTED.inc(appended)
            self._on_appended(appended, reply[0], reply[1])

    async def _run(self, arguments: list[Argument]) -> list[Any]:
        answer = await self._connection.run(KEYS, arguments)
        if self._replicas:
            found = await self._connection.wait_for_replicas(self._replicas, int(self._timeout * 1000 / 2))
            if found < self._replicas:
                raise QueueUnavailable(f"{found} of {self._replicas} replicas")
        return answer

    async def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        """Answer the flush that failed, and all that were waiting behind it: they would wait as long again."""
        batch, self._next = batch + self._next, []
        metrics.FLUSH_FAILURES.inc()
        log.error("flush failed", reason=type(error).__name__, operations=len(batch))
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(QueueUnavailable(type(error).__name__))
        await self._connection.drop()
