"""The parameters of the statistics: time range and bucket width."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from ingest_api.parameters.kinds import TIME_RULE, UNKNOWN_PARAMETER, Moment, SourceName, one_of
from schema.counts.widths import DAY, HOUR, MINUTE

INTERVALS = {"minute": MINUTE, "hour": HOUR, "day": DAY}

# Most buckets in one answer: a day of minutes, two months of hours, four years of days.
BUCKETS_MAX = 1500

# The last second that a datetime can hold, in seconds since 1970.
END_OF_TIME = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

# Number of buckets up to now when `from` is absent.
BUCKETS_DEFAULT = 24


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """The validated parameters: buckets of `width` seconds that begin in [start, end), in seconds since 1970."""

    width: int
    start: int
    end: int
    source: str | None


class StatsQuerySchema(Schema):
    """The parameters as they stand in the query string."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    start = Moment(
        data_key="from", load_default=None, metadata={"description": "A time in the first bucket", **TIME_RULE}
    )
    end = Moment(
        data_key="to",
        next_day=True,
        load_default=None,
        metadata={"description": "The end of the range, not part of it; a date is", **TIME_RULE},
    )
    interval = fields.String(
        load_default="hour",
        validate=one_of(tuple(INTERVALS)),
    )

    source = SourceName()

    @post_load
    def _query(self, data: dict[str, Any], **_: Any) -> StatsQuery:
        return StatsQuery(*self._range(data), data["source"])

    def _range(self, data: dict[str, Any]) -> tuple[int, int, int]:
        width = INTERVALS[data["interval"]]
        # The last microsecond of the half-open range; without an end the bucket of now is whole.
        last = time.time_ns() // 1000 if data["end"] is None else max(data["end"] - 1, 0)
        second = last // 1_000_000
        end = second - second % width + width
        if end > END_OF_TIME:
            raise ValidationError("This time is too far away.", "to")
        if data["start"] is None:
            return width, max(0, end - BUCKETS_DEFAULT * width), end
        first = data["start"] // 1_000_000
        start = first - first % width
        if start >= end:
            raise ValidationError("This time should be before `to`.", "from")
        if end - start > BUCKETS_MAX * width:
            raise ValidationError(
                f"At most {BUCKETS_MAX} buckets: choose a shorter range or a longer interval.", "from"
            )
        return width, start, end


STATS_QUERY = StatsQuerySchema()
