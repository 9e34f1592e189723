"""GET /api/status"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from falcon.asgi import Response

from ingest_api.auth.tokens import Tokens
from ingest_api.http.context import Request
from ingest_api.http.envelope import success
from ingest_api.intake.refused_leads import RefusedLeads
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.service_state import ServiceState, StateReader, or_none
from ingest_api.reads.shared_answer import SharedAnswer
from schema.settings import Settings


@dataclass(frozen=True)
class _Reading:
    time: datetime
    state: ServiceState
    queue: dict[str, float] | None  # the numbers of schema.queue.stats
    refused: int | None


class Status:
    """How the service is, in one answer for people: also while a part is away. For users, not for sources."""

    def __init__(
        self, settings: Settings, tokens: Tokens, state: StateReader, ledgers: LedgerReader, refused: RefusedLeads
    ) -> None:
        self._is_embedded = settings.embedded_redis and not settings.database_url
        self._tokens = tokens
        self._state = state
        self._ledgers = ledgers
        self._refused = refused
        self._reading = SharedAnswer(self._read)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer what a reading found that began at most a second ago. A number that cannot be read is null."""
        self._tokens.require(req, "read")
        found = await self._reading.get()
        queue: dict[str, float] = found.queue or {}
        data: dict[str, Any] = {
            "time": found.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "embedded": self._is_embedded,
            "queue": found.state.queue,
            "database": found.state.database,
            "waiting": queue.get("waiting"),
            "oldest_age_seconds": _rounded(queue.get("oldest")),
            "dead_letters": queue.get("dead"),
            "storing_delay_seconds": queue.get("storing_delay"),
            "refused_today": found.refused,
            "ledger": found.state.ledger,
            "servers": found.state.servers,
        }
        success(resp, 200, "Status", data)

    on_head = on_get

    async def _read(self) -> _Reading:
        now = datetime.now(UTC)
        state = await self._state.read()
        if not state.queue:
            return _Reading(now, state, None, None)
        return _Reading(now, state, await or_none(self._ledgers.queue()), await or_none(self._refused.today()))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
