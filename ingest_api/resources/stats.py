"""GET /api/leads/stats"""

import asyncio
from datetime import UTC, datetime
from typing import Any

from falcon.asgi import Response
from marshmallow import ValidationError
from sqlalchemy import Connection

from ingest_api.auth.callers import Callers
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import success, validation_failed
from ingest_api.intake.refused_leads import RefusedLeads
from ingest_api.parameters import kinds
from ingest_api.parameters.stats import INTERVALS, STATS_QUERY, StatsQuery
from ingest_api.reads.queue_reader import QueueReader
from schema.counts import lookup
from schema.counts.by_source import DUPLICATE_COUNTS, OF_ALL, SOURCE_COUNTS, SOURCE_WIDTHS
from schema.queue import accepted_by_source, accepted_counts
from schema.queue.accepted_by_source import AcceptedBySource
from schema.queue.accepted_counts import Accepted


class Stats:
    """Accepted, stored and refused leads, and duplicates, over time, of all or of one source, from the counts alone."""

    def __init__(self, callers: Callers, reader: DatabaseReader, queue: QueueReader, refused: RefusedLeads) -> None:
        self._callers = callers
        self._reader = reader
        self._queue = queue
        self._refused = refused

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the numbers of each bucket, including empty ones."""
        caller = self._callers.require(req, "read").source_name
        try:
            query: StatsQuery = kinds.parse(STATS_QUERY, req.params)
            source = kinds.own_source(query.source, caller)
            if source is not None and query.width not in SOURCE_WIDTHS:
                raise ValidationError({"interval": ["By source there are hours and days."]})
        except ValidationError as error:
            raise validation_failed(error) from None
        if source is None:
            data = await self._all(query)
        else:
            fresh = await self._queue.accepted_by_source()
            data = await self._reader.in_snapshot(_of_source, fresh, query, source)
        success(resp, 200, "Statistics", data)

    on_head = on_get

    async def _all(self, query: StatsQuery) -> dict[str, Any]:
        buckets = query.width, query.start, query.end
        fresh, refused = await asyncio.gather(self._queue.accepted(*buckets), self._refused.by_bucket(*buckets))
        return await self._reader.in_snapshot(_of_all, fresh, refused, query)


def _of_all(
    connection: Connection, fresh: list[Accepted], refused: dict[int, int] | None, query: StatsQuery
) -> dict[str, Any]:
    width, start, end = query.width, query.start, query.end
    came = accepted_counts.by_bucket(connection, fresh, width, start, end)
    numbers = {"accepted": came, "stored": lookup.by_bucket(connection, width, start, end)}
    if refused is not None:
        numbers["refused"] = refused
    if width in SOURCE_WIDTHS:
        numbers["duplicates"] = DUPLICATE_COUNTS.by_bucket(connection, OF_ALL, width, start, end)
    return _shown(query, numbers)


def _of_source(connection: Connection, fresh: list[AcceptedBySource], query: StatsQuery, source: str) -> dict[str, Any]:
    width, start, end = query.width, query.start, query.end
    came = accepted_by_source.by_bucket(connection, fresh, source, width, start, end)
    numbers = {
        "accepted": came,
        "stored": SOURCE_COUNTS.by_bucket(connection, source, width, start, end),
        "duplicates": DUPLICATE_COUNTS.by_bucket(connection, source, width, start, end),
    }
    return _shown(query, numbers) | {"source": source}


def _shown(query: StatsQuery, numbers: dict[str, dict[int, int]]) -> dict[str, Any]:
    """Return the answer: the sums of the numbers, and each bucket's."""
    return {
        "interval": next(name for name, each in INTERVALS.items() if each == query.width),
        "from": _text(query.start),
        "to": _text(query.end),
        **{name: sum(each.values()) for name, each in numbers.items()},
        "items": [
            {"time": _text(first), **{name: each.get(first, 0) for name, each in numbers.items()}}
            for first in range(query.start, query.end, query.width)
        ],
    }


def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
