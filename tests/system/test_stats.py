"""GET /api/leads/stats"""

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


def stats(service: Service, **parameters: object) -> dict:
    return assert_success(service.get("/api/leads/stats", params=parameters), 200)


@pytest.mark.parametrize("interval", SECONDS)
def test_accepted_and_stored_leads_are_counted(service: Service, interval: str):
    # Given that all which came before is stored
    until(lambda: (now := stats(service, interval="day"))["stored"] == now["accepted"])
    before = stats(service, interval=interval)

    made = service.accept(*[a_lead() for _ in range(12)])

    # Accepted counts at once, stored when it is.
    assert stats(service, interval=interval)["accepted"] == before["accepted"] + 12
    service.wait_until_stored(*made)
    after = stats(service, interval=interval)
    assert after["stored"] == before["stored"] + 12
    assert sum(each["accepted"] for each in after["items"]) == after["accepted"]
    assert sum(each["stored"] for each in after["items"]) == after["stored"]


def settled_refused(service: Service, interval: str) -> int:
    """Return how many were refused, once every process has written its counts, which it does each second."""
    seen: list[tuple[float, int]] = []

    def is_settled() -> bool:
        seen.append((time.monotonic(), stats(service, interval=interval)["refused"]))
        now, number = seen[-1]
        return any(at < now - 2.5 and before == number for at, before in seen)

    until(is_settled, 30, 0.3)
    return seen[-1][1]


@pytest.mark.parametrize("interval", SECONDS)
def test_refused_leads_are_counted_and_bulk_items_each(service: Service, interval: str):
    before = settled_refused(service, interval)

    refused = [service.post("/api/leads", {}), service.post("/api/leads", a_lead(), token=None)]
    refused += [service.post("/api/leads/bulk", [{}, {}]), service.post("/api/leads/bulk", b"[")]
    taken = service.post("/api/leads/bulk", [a_lead(), {}, {}, {}])

    assert [each.status_code for each in refused] == [400, 401, 400, 400]
    assert taken.status_code == 202
    # Each process writes its counts once a second.
    until(lambda: stats(service, interval=interval)["refused"] == before + 8, 30, 0.1)
    data = stats(service, interval=interval)
    assert sum(each["refused"] for each in data["items"]) == data["refused"]


def test_reading_is_no_refused_lead(embedded: Service):
    before = settled_refused(embedded, "hour")

    assert embedded.get("/api/leads?limit=0").status_code == 400
    assert embedded.client.put("/api/leads", headers=embedded.headers()).status_code == 405
    embedded.post("/api/leads", {})

    until(lambda: stats(embedded)["refused"] != before, 30, 0.1)
    assert stats(embedded)["refused"] == before + 1


@pytest.mark.parametrize("interval", SECONDS)
def test_the_buckets_follow_each_other_without_a_gap(service: Service, interval: str):
    data = stats(service, interval=interval)

    times = [datetime.fromisoformat(each["time"]) for each in data["items"]]
    step = timedelta(seconds=SECONDS[interval])
    assert data["interval"] == interval
    assert all(later - earlier == step for earlier, later in itertools.pairwise(times))
    assert times[-1] <= datetime.now(UTC) < times[-1] + step + timedelta(seconds=2)
    assert datetime.fromisoformat(data["from"]) == times[0]


def test_a_range_holds_its_buckets_alone(service: Service):
    service.wait_until_stored(*service.accept(a_lead()))
    now = datetime.now(UTC)

    data = stats(service, interval="day", **{"from": (now - timedelta(days=2)).isoformat(), "to": now.isoformat()})
    old = stats(service, interval="day", **{"from": "2001-01-01", "to": "2001-01-31"})

    assert len(data["items"]) == 3
    assert data["stored"] == service.page()["pagination"]["total"]
    assert (old["accepted"], old["stored"], len(old["items"])) == (0, 0, 31)
    # How many were refused then is not kept.
    assert "refused" not in old
    assert "refused" in data


@pytest.mark.parametrize(
    ("interval", "start", "end", "buckets"),
    [
        ("hour", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z", ["2026-01-05T03:00:00Z"]),
        (
            "hour",
            "2026-01-05T03:00:00Z",
            "2026-01-05T04:00:00.000001Z",
            ["2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"],
        ),
        ("hour", "2026-01-05T03:30:00Z", "2026-01-05T03:45:00Z", ["2026-01-05T03:00:00Z"]),
        ("minute", "2026-01-05T03:00:00Z", "2026-01-05T03:01:00Z", ["2026-01-05T03:00:00Z"]),
        ("day", "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", ["2026-01-05T00:00:00Z"]),
        ("day", "2026-01-05", "2026-01-05", ["2026-01-05T00:00:00Z"]),
    ],
)
def test_the_end_of_a_range_is_not_part_of_it_but_a_date_is(
    service: Service, interval: str, start: str, end: str, buckets: list[str]
):
    data = stats(service, interval=interval, **{"from": start, "to": end})

    assert [item["time"] for item in data["items"]] == buckets


def test_the_stored_of_all_buckets_are_the_lists_total(service: Service):
    service.wait_until_stored(*service.accept(a_lead()))

    assert stats(service, interval="day")["stored"] == service.page()["pagination"]["total"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("interval=week", {"interval"}),
        ("interval=", {"interval"}),
        ("from=x", {"from"}),
        ("to=2023-02-29", {"to"}),
        ("from=&to=", {"from", "to"}),
        ("from=2024-01-02&to=2024-01-01", {"from"}),
        ("from=2024-01-02T03:00:00Z&to=2024-01-02T03:00:00Z", {"from"}),
        ("interval=minute&from=1970-01-01", {"from"}),
        ("page=1", {"page"}),
        ("interval=day&interval=day", {"interval"}),
        ("interval=week&from=x&to=y&z=1", {"interval", "from", "to", "z"}),
    ],
)
def test_a_wrong_parameter_is_named(service: Service, query: str, named: set[str]):
    answer = service.get(f"/api/leads/stats?{query}")

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == named


@pytest.mark.parametrize("query", ["to=9999-12-31&from=9999-12-31", "to=1970-01-01", "from=9999-12-31T23:59:59Z"])
def test_the_ends_of_time_break_nothing(service: Service, query: str):
    assert service.get(f"/api/leads/stats?{query}").status_code in (200, 400)
