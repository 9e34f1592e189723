"""ingest_api.intake.source_limit: what a source is told that has used up its rate or its daily cap."""

import time
from datetime import UTC, datetime

import pytest

from ingest_api import metrics
from ingest_api.http.envelope import ApiError
from ingest_api.intake.append import AppendResult, Verdict
from ingest_api.intake.source_limit import check_size, over_limit
from schema.lead.source import SourceLimits

ACME = SourceLimits("acme", rate=100, daily_cap=5000)

# 2026-03-01T10:20:30.25Z
NOW = datetime(2026, 3, 1, 10, 20, 30, 250_000, tzinfo=UTC).timestamp()

# Whole seconds, as Redis tells them.
MINUTE_END = int(datetime(2026, 3, 1, 10, 21, tzinfo=UTC).timestamp())
MIDNIGHT = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())


def refused(verdict: Verdict, used: int, until: int = MIDNIGHT) -> AppendResult:
    return AppendResult(verdict, 0, 0, b"", used, until)


def refusals(reason: str) -> float:
    return metrics.SOURCE_REFUSED.labels("acme", reason)._value.get()


def test_a_rate_that_is_used_up_is_a_429_until_the_end_of_the_minute():
    error = over_limit(ACME, refused(Verdict.SOURCE_RATE, 100, MINUTE_END), NOW)

    assert error.title == "The rate of source acme is 100 leads a minute: 0 more until 2026-03-01T10:21:00Z"
    assert (error.status_code, error.reason, error.retry_after) == (429, "source_rate", 30)
    assert error.headers == {"Retry-After": "30"}


def test_a_daily_cap_that_is_used_up_is_a_429_until_midnight():
    error = over_limit(ACME, refused(Verdict.SOURCE_CAP, 5000), NOW)

    assert error.title == "The daily cap of source acme is 5000 leads a day: 0 more until 2026-03-02T00:00:00Z"
    assert (error.status_code, error.reason, error.retry_after) == (429, "source_cap", 49_170)
    assert error.headers == {"Retry-After": "49170"}


@pytest.mark.parametrize(
    ("verdict", "used", "left"),
    [(Verdict.SOURCE_RATE, 93, 7), (Verdict.SOURCE_CAP, 4999, 1), (Verdict.SOURCE_RATE, 0, 100)],
)
def test_who_sends_a_bulk_is_told_how_many_leads_there_is_room_for(verdict: Verdict, used: int, left: int):
    assert f": {left} more until " in over_limit(ACME, refused(verdict, used), NOW).title


@pytest.mark.parametrize("verdict", [Verdict.SOURCE_RATE, Verdict.SOURCE_CAP])
def test_a_limit_that_was_lowered_below_what_is_used_has_no_room(verdict: Verdict):
    assert ": 0 more until " in over_limit(ACME, refused(verdict, 9999), NOW).title


@pytest.mark.parametrize("verdict", [Verdict.SOURCE_RATE, Verdict.SOURCE_CAP])
@pytest.mark.parametrize(
    ("now", "retry_after"),
    [(MIDNIGHT - 1.5, 2), (MIDNIGHT - 1, 1), (MIDNIGHT - 0.001, 1), (MIDNIGHT, 1), (MIDNIGHT + 5, 1)],
)
def test_a_source_that_waits_as_it_is_told_is_not_early(verdict: Verdict, now: float, retry_after: int):
    # Given a moment about the last second of a day; a clock of ours may be ahead of Redis's
    error = over_limit(ACME, refused(verdict, 9999), now)

    assert error.retry_after == retry_after
    assert error.title.endswith(": 0 more until 2026-03-02T00:00:00Z")


def test_each_refusal_is_counted_under_its_reason():
    before = refusals("source_rate"), refusals("source_cap")

    over_limit(ACME, refused(Verdict.SOURCE_RATE, 100), NOW)
    for _ in range(2):
        over_limit(ACME, refused(Verdict.SOURCE_CAP, 5000), NOW)

    assert (refusals("source_rate"), refusals("source_cap")) == (before[0] + 1, before[1] + 2)


def test_by_default_it_is_the_present():
    error = over_limit(ACME, refused(Verdict.SOURCE_RATE, 100, int(time.time()) + 60))

    assert 55 < error.retry_after <= 60


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (SourceLimits("acme", rate=100, daily_cap=5000), 100),
        (SourceLimits("acme", rate=100, daily_cap=7), 7),
        (SourceLimits("acme", rate=100), 100),
        (SourceLimits("acme", daily_cap=7), 7),
    ],
)
def test_a_bulk_that_can_never_fit_is_a_400(limits: SourceLimits, most: int):
    check_size(limits, most)
    with pytest.raises(ApiError) as refused:
        check_size(limits, most + 1)

    assert (refused.value.status_code, refused.value.reason) == (400, "source_bulk_too_large")
    assert refused.value.errors == {
        "body": [f"Source acme may send at most {most} leads in one request, by its rate or daily cap."]
    }


def test_without_limits_a_bulk_of_any_size_fits():
    check_size(SourceLimits("acme"), 1000)
