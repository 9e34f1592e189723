"""The limits of a source: leads a minute, and leads a day. The flush that appends leads counts them.

Only what is accepted counts, so a source gets exactly its cap; a day is the UTC day of the leads' `createdAt`.
"""

import math
import time
from datetime import UTC, datetime

from ingest_api import metrics
from ingest_api.http.envelope import ApiError, invalid, rate_limited
from ingest_api.intake.append import AppendResult, Verdict
from schema.lead.source import SourceLimits


def over_limit(source: SourceLimits, answer: AppendResult, now: float | None = None) -> ApiError:
    """Make the 429 for leads that the rate or the daily cap of their source left no room for.

    It says which, how many leads there is room for, and until when. `now` is in seconds since 1970.
    """
    is_cap = answer.verdict is Verdict.SOURCE_CAP
    what, most, unit = ("daily cap", source.daily_cap, "day") if is_cap else ("rate", source.rate, "minute")
    reason = "source_cap" if is_cap else "source_rate"
    metrics.SOURCE_REFUSED.labels(source.name, reason).inc()
    end = datetime.fromtimestamp(answer.source_until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = max(most - answer.source_used, 0)
    message = f"The {what} of source {source.name} is {most} leads a {unit}: {left} more until {end}"
    wait = math.ceil(answer.source_until - (time.time() if now is None else now))
    return rate_limited(max(wait, 1), message, reason)


def check_size(source: SourceLimits, leads: int) -> None:
    """Raise the 400 for so many leads in one request that no minute or day has room for them."""
    most = min((limit for limit in (source.rate, source.daily_cap) if limit), default=leads)
    if leads > most:
        message = f"Source {source.name} may send at most {most} leads in one request, by its rate or daily cap."
        raise invalid({"body": [message]}, "source_bulk_too_large")
