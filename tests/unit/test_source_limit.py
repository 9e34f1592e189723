"""ingest_api.intake.source_limit: what a source is told that has used up its rate or its daily cap."""

from datetime import UTC, datetime

import pytest

from ingest_api import metrics
from ingest_api.intake.append import AppendResult, Verdict
from ingest_api.intake.source_limit import over_limit
from schema.lead.source import SourceLimits

ACME = SourceLimits("acme", rate=100, daily_cap=5000)

# 2026-03-01T10:20:30.25Z
NOW = datetime(2026, 3, 1, 10, 20, 30, 250_000, tzinfo=UTC).timestamp()

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()


def refused(verdict: Verdict, used: int) -> AppendResult:
    return AppendResult(verdict, 0, 0, b"", used)


def refusals(reason: str) -> float:
    return metrics.SOURCE_REFUSED.labels("acme", reason)._value.get()


def test_a_rate_that_is_used_up_is_a_429_until_the_end_of_the_minute():
    error = over_limit(ACME, refused(Verdict.SOURCE_RATE, 100), NOW)

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
@pytest.mark.parametrize("now", [MIDNIGHT - 1, MIDNIGHT - 0.001])
def test_in_the_last_second_of_a_day_the_wait_is_a_second(verdict: Verdict, now: float):
    error = over_limit(ACME, refused(verdict, 9999), now)

    assert error.retry_after == 1
    assert error.title.endswith(": 0 more until 2026-03-02T00:00:00Z")


@pytest.mark.parametrize(
    ("verdict", "end", "retry_after"),
    [(Verdict.SOURCE_RATE, "2026-03-02T00:01:00Z", 60), (Verdict.SOURCE_CAP, "2026-03-03T00:00:00Z", 86_400)],
)
def test_midnight_is_of_the_day_that_begins(verdict: Verdict, end: str, retry_after: int):
    error = over_limit(ACME, refused(verdict, 9999), MIDNIGHT)

    assert error.retry_after == retry_after
    assert error.title.endswith(f": 0 more until {end}")


def test_each_refusal_is_counted_under_its_reason():
    before = refusals("source_rate"), refusals("source_cap")

    over_limit(ACME, refused(Verdict.SOURCE_RATE, 100), NOW)
    for _ in range(2):
        over_limit(ACME, refused(Verdict.SOURCE_CAP, 5000), NOW)

    assert (refusals("source_rate"), refusals("source_cap")) == (before[0] + 1, before[1] + 2)


def test_by_default_it_is_the_present():
    error = over_limit(ACME, refused(Verdict.SOURCE_RATE, 100))

    assert 1 <= error.retry_after <= 60
