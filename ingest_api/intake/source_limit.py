"""The limits of a source: leads a minute, and leads a day. The flush that appends leads counts them.

Only what is accepted counts, so a source gets exactly its cap; a day is the UTC day of the leads' `createdAt`.
"""

import time
from datetime import UTC, datetime

from ingest_api import metrics
from ingest_api.http.envelope import ApiError, rate_limited
from ingest_api.intake.append import AppendResult, Verdict
from schema.counts.widths import DAY, MINUTE
from schema.lead.source import SourceLimits


def over_limit(source: SourceLimits, answer: AppendResult, now: float | None = None) -> ApiError:
    """Make the 429 for leads that the rate or the daily cap of their source left no room for.

    It says which, how many leads there is room for, and until when. `now` is in seconds since 1970.
    """
    is_cap = answer.verdict is Verdict.SOURCE_CAP
    width = DAY if is_cap else MINUTE
    most = source.daily_cap if is_cap else source.rate
    what = "daily cap" if is_cap else "rate"
    unit = "a day" if is_cap else "a minute"
    reason = "source_cap" if is_cap else "source_rate"
    metrics.SOURCE_REFUSED.labels(source.name, reason).inc()
    second = int(time.time() if now is None else now)
    until = second - second % width + width
    end = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = max(most - answer.source_used, 0)
    message = f"The {what} of source {source.name} is {most} leads {unit}: {left} more until {end}"
    return rate_limited(until - second, message, reason)
