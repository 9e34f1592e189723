"""GET /api/leads/stats"""

from datetime import UTC, datetime
from typing import Any

from falcon.asgi import Response
from marshmallow import ValidationError
from sqlalchemy import Connection

from ingest_api.auth.tokens import Tokens
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import success, validation_failed
from ingest_api.parameters import kinds
from ingest_api.parameters.stats import INTERVALS, STATS_QUERY
from ingest_api.reads.queue_reader import QueueReader
from schema.counts import lookup
from schema.queue import accepted_counts
from schema.queue.accepted_counts import Accepted


class Stats:
    """Accepted and stored leads over time, from the counts alone."""

    def __init__(self, tokens: Tokens, reader: DatabaseReader, queue: QueueReader) -> None:
        self._tokens = tokens
        self._reader = reader
        self._queue = queue

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the accepted and stored leads of each bucket, including empty ones."""
        self._tokens.require(req, "read")
        try:
            width, start, end = kinds.parse(STATS_QUERY, req.params)
        except ValidationError as error:
            raise validation_failed(error) from None
        fresh = await self._queue.accepted()
        success(resp, 200, "Statistics", await self._reader.in_snapshot(_stats, fresh, width, start, end))

    on_head = on_get


def _stats(connection: Connection, fresh: list[Accepted], width: int, start: int, end: int) -> dict[str, Any]:
    stored = lookup.by_bucket(connection, width, start, end)
    came = accepted_counts.by_bucket(connection, fresh, width, start, end)
    return {
        "interval": next(name for name, each in INTERVALS.items() if each == width),
        "from": _text(start),
        "to": _text(end),
        "accepted": sum(came.values()),
        "stored": sum(stored.values()),
        "items": [
            {"time": _text(first), "accepted": came.get(first, 0), "stored": stored.get(first, 0)}
            for first in range(start, end, width)
        ],
    }


def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
