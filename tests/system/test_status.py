"""GET /api/status: how the service is, for users."""

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

from .test_tokens import claims, signed

NAMES = {
    "time",
    "embedded",
    "queue",
    "database",
    "waiting",
    "oldest_age_seconds",
    "dead_letters",
    "storing_delay_seconds",
    "refused_today",
    "ledger",
    "servers",
}


def status(service: Service) -> dict:
    return assert_success(service.get("/api/status"), 200)


def test_it_says_what_the_health_check_knows_and_how_fast_leads_are_stored(service: Service):
    service.wait_until_stored(*service.accept(*[a_lead() for _ in range(3)]))
    service.wait_until_nothing_waits()

    until(lambda: (found := status(service))["ledger"]["imbalance"] == found["waiting"] == 0, 30, 0.2)
    found = status(service)

    assert found.keys() == NAMES
    assert found["queue"] is found["database"] is True
    assert found["embedded"] is ("redis_url" not in service.settings)
    assert found["oldest_age_seconds"] == 0
    assert 0 < found["storing_delay_seconds"] < 60
    assert found["ledger"] == service.ledger()
    assert found["servers"].keys() == service.ready().json()["data"]["servers"].keys()


def test_it_is_the_same_through_a_proxy(embedded: Service):
    through = embedded.get("/api/status", headers={"X-Forwarded-For": "203.0.113.7"})

    assert assert_success(through, 200)["ledger"]["accepted"] >= 0


def test_it_is_for_users_who_may_read(embedded: Service):
    assert_error(embedded.get("/api/status", token=None), 401, "JWT Token not found")
    assert_error(embedded.get("/api/status", token=signed(embedded, claims(roles=["ingest"]))), 403)


@pytest.mark.parametrize("method", ["post", "put"])
def test_it_can_only_be_read(embedded: Service, method: str):
    answer = embedded.client.request(method, "/api/status", headers=embedded.headers(), json={})

    assert answer.status_code == 405
    assert answer.headers["Allow"].startswith("GET")
