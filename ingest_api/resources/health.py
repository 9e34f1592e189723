"""/health/live, /health/ready and /metrics"""

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import falcon
from falcon.asgi import Response
from redis.exceptions import RedisError
from sqlalchemy import Connection, text

from ingest_api import metrics
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import RETRY_AWAY, ApiError, success, unavailable
from ingest_api.reads.database_servers import DatabaseServers
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.queue_reader import QueueReader
from ingest_api.reads.shared_answer import SharedAnswer
from schema.runtime.process_metrics import ProcessCollector

T = TypeVar("T")

# Longest wait (seconds) for Redis or the database before it counts as away.
PART_TIMEOUT = 2.0

# Headers of a request that a proxy passed on.
OF_PROXIES = ("X-Forwarded-For", "Forwarded")


class Live:
    """Liveness: whether this process answers, whatever the state of Redis and the database."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer 200."""
        success(resp, 200, "Alive", {"live": True})

    on_head = on_get


@dataclass(frozen=True)
class Readiness:
    """What one check found."""

    queue: bool  # whether a shard answers
    database: bool
    shards_away: int
    ledger: dict[str, int] | None  # None when it could not be read
    servers: dict[str, Any]  # which servers there are, by part


class Ready:
    """Readiness: whether queue and database answer; with the ledger and the servers, for those who ask from inside."""

    def __init__(
        self,
        reader: DatabaseReader,
        queue: QueueReader,
        ledgers: LedgerReader,
        database_servers: DatabaseServers,
    ) -> None:
        self._reader = reader
        self._queue = queue
        self._ledgers = ledgers
        self._database_servers = database_servers
        self._readiness = SharedAnswer(self._check)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer 200, or 503 with the parts that are away, by a check that began at most a second ago.

        Whoever comes through a proxy is outside, and gets neither ledger nor servers.
        """
        found = await self._readiness.get()
        errors = {part: ["This part does not answer."] for part in ("queue", "database") if not getattr(found, part)}
        if errors:
            raise ApiError(
                falcon.HTTP_503,
                f"Not ready: {', '.join(errors)}",
                "not_ready",
                errors=errors,
                retry_after=RETRY_AWAY,
            )
        if found.ledger is None and not found.shards_away:
            raise unavailable("Not ready: the ledger cannot be read", "not_ready")
        data: dict[str, Any] = {"queue": True, "database": True}
        if not any(map(req.get_header, OF_PROXIES)):
            data["ledger"] = found.ledger
            data["servers"] = found.servers
        success(resp, 200, "Ready", data)

    on_head = on_get

    async def _check(self) -> Readiness:
        queue_servers, database = await asyncio.gather(
            self._queue.servers(PART_TIMEOUT), _answers(self._reader.in_snapshot(_select_one))
        )
        away = sum("error" in each for each in queue_servers)
        queue = away < len(queue_servers)
        servers: dict[str, Any] = {"queue": queue_servers}
        if not (queue and database):
            return Readiness(queue, database, away, None, servers)
        ledger = None if away else await _or_none(self._ledgers.read())
        database_servers = await _or_none(self._database_servers.read())
        if database_servers:
            servers["database"] = database_servers
        return Readiness(queue, database, away, ledger, servers)


class Metrics:
    """The metrics, for Prometheus."""

    def __init__(self, ledgers: LedgerReader, servers: DatabaseServers, requests: metrics.Requests) -> None:
        self._ledgers = ledgers
        self._servers = servers
        self._requests = requests
        self._processes = ProcessCollector("api", os.getppid())
        self._state = SharedAnswer(self._read_state)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the metrics of all API processes as text, with ledger and queue unless they cannot be read."""
        ledger, queue, servers = await self._state.get()
        primary = servers.get("primary") if servers else None
        self._requests.count()
        resp.data, resp.content_type = await asyncio.to_thread(
            metrics.exposition, ledger, queue, primary, self._processes
        )

    on_head = on_get

    async def _read_state(self) -> tuple[dict[str, int] | None, dict[str, float] | None, dict[str, Any] | None]:
        ledger, queue, servers = await asyncio.gather(
            _or_none(self._ledgers.read()), _or_none(self._ledgers.queue()), _or_none(self._servers.read())
        )
        return ledger, queue, servers


async def _or_none(question: Awaitable[T]) -> T | None:
    try:
        return await asyncio.wait_for(question, PART_TIMEOUT)
    except (ApiError, RedisError, TimeoutError):
        return None


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(question, PART_TIMEOUT)
    except (ApiError, RedisError, TimeoutError):
        return False
    return True


def _select_one(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
