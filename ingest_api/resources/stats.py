"""GET /api/leads/stats"""

import time
from datetime import UTC, datetime
from typing import Any

from falcon.asgi import Response
from marshmallow import Schema, ValidationError, fields, post_load, validate
from sqlalchemy import Connection

from ingest_api.auth.tokens import Tokens
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import success, validation_failed
from ingest_api.parameters import list_query
from ingest_api.parameters.list_query import TIME_RULE, UNKNOWN, Moment
from ingest_api.reads.queue_reader import QueueReader
from schema.counts import lookup
from schema.counts.widths import DAY, HOUR, MINUTE
from schema.queue import accepted_counts
from schema.queue.accepted_counts import Accepted

WIDTHS = {"minute": MINUTE, "hour": HOUR, "day": DAY}

# Buckets in one answer: a day of minutes, two months of hours, four years of days.
BUCKETS_MAX = 1500

# The last second that a datetime can hold, in seconds since 1970.
END_OF_TIME = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

# Without a range: so many buckets up to now.
BUCKETS_DEFAULT = 24


class StatsQuerySchema(Schema):
    """The parameters as they stand in the query string. Loads a width and [start, end) in seconds since 1970."""

    error_messages = {"unknown": UNKNOWN}

    start = Moment(
        data_key="from", load_default=None, metadata={"description": "A time in the first bucket", **TIME_RULE}
    )
    end = Moment(
        data_key="to", end=True, load_default=None, metadata={"description": "A time in the last bucket", **TIME_RULE}
    )
    interval = fields.String(
        load_default="hour",
        validate=validate.OneOf(tuple(WIDTHS), error=f"This value should be one of {', '.join(WIDTHS)}."),
    )

    @post_load
    def _range(self, data: dict[str, Any], **_: Any) -> tuple[int, int, int]:
        width = WIDTHS[data["interval"]]
        last = int(time.time()) if data["end"] is None else data["end"] // 1_000_000
        end = last - last % width + width
        if end > END_OF_TIME:
            raise ValidationError("This time is too far away.", "to")
        if data["start"] is None:
            return width, max(0, end - BUCKETS_DEFAULT * width), end
        first = data["start"] // 1_000_000
        start = first - first % width
        if start >= end:
            raise ValidationError("This time should not be after `to`.", "from")
        if end - start > BUCKETS_MAX * width:
            raise ValidationError(
                f"At most {BUCKETS_MAX} buckets: choose a shorter range or a longer interval.", "from"
            )
        return width, start, end


STATS_QUERY = StatsQuerySchema()


class Stats:
    """How many leads came in and how many are stored, over time, from the counts alone."""

    def __init__(self, tokens: Tokens, read_path: DatabaseReader, queue: QueueReader) -> None:
        self._tokens = tokens
        self._reader_pool = read_path
        self._queue = queue

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the accepted and stored leads of each bucket, those without any too."""
        self._tokens.require(req, "read")
        try:
            width, start, end = list_query.parse(STATS_QUERY, req.params)
        except ValidationError as error:
            raise validation_failed(error) from None
        fresh = await self._queue.accepted()
        success(resp, 200, "Statistics", await self._reader_pool.in_snapshot(_stats, fresh, width, start, end))

    on_head = on_get


def _stats(connection: Connection, fresh: Accepted, width: int, start: int, end: int) -> dict[str, Any]:
    stored = lookup.by_bucket(connection, width, start, end)
    came = accepted_counts.by_bucket(connection, fresh, width, start, end)
    return {
        "interval": next(name for name, each in WIDTHS.items() if each == width),
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
