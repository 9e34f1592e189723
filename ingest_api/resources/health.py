"""/health/live, /health/ready and /metrics"""

import asyncio
import os
from typing import Any

import falcon
from falcon.asgi import Response

from ingest_api import metrics
from ingest_api.http.context import Request
from ingest_api.http.envelope import RETRY_AWAY, ApiError, success, unavailable
from ingest_api.reads.database_servers import DatabaseServers
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.service_state import StateReader, or_none
from ingest_api.reads.shared_answer import SharedAnswer
from schema.runtime.process_metrics import ProcessCollector

# Headers of a request that a proxy passed on.
OF_PROXIES = ("X-Forwarded-For", "Forwarded")


class Live:
    """Liveness: whether this process answers, whatever the state of Redis and the database."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer 200."""
        success(resp, 200, "Alive", {"live": True})

    on_head = on_get


class Ready:
    """Readiness: whether queue and database answer; with the ledger and the servers, for those who ask from inside."""

    def __init__(self, state: StateReader) -> None:
        self._state = SharedAnswer(state.read)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer 200, or 503 with the parts that are away, by a check that began at most a second ago.

        Whoever comes through a proxy is outside, and gets neither ledger nor servers.
        """
        found = await self._state.get()
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
            or_none(self._ledgers.read()), or_none(self._ledgers.queue()), or_none(self._servers.read())
        )
        return ledger, queue, servers
