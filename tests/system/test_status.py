"""GET /api/status: how the service is, for users."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.kit.databases import DatabaseServer
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
    "queue_full",
    "oldest_age_seconds",
    "dead_letters",
    "storing_delay_seconds",
    "storing_problem",
    "refused_today",
    "ledger",
    "servers",
}


def status(service: Service) -> dict:
    return assert_success(service.get("/api/status"), 200)


def test_it_says_what_the_health_check_knows_and_how_fast_leads_are_stored(service: Service):
    service.wait_until_stored(*service.accept(*[a_lead() for _ in range(3)]))
    service.wait_until_nothing_waits()

    # An answer may be some seconds old.
    until(lambda: status(service)["ledger"] == service.ledger(), 30, 0.2)
    found = status(service)

    assert found.keys() == NAMES
    assert found["queue"] is found["database"] is True
    assert found["embedded"] is ("redis_url" not in service.settings)
    assert found["oldest_age_seconds"] == 0
    assert found["waiting"] == found["ledger"]["imbalance"] == 0
    assert 0 <= found["storing_delay_seconds"] < 60
    assert found["servers"].keys() == service.ready().json()["data"]["servers"].keys()


def test_it_says_why_nothing_is_stored(production: Service, database_server: DatabaseServer):
    # Given a database that refuses all leads of a batch, so that none of them is dead-lettered
    database = make_url(str(production.settings["database_url"])).database
    database_server.execute(
        f"CREATE TRIGGER {database}.refusal BEFORE INSERT ON {database}.leads FOR EACH ROW SIGNAL SQLSTATE '45000'"
    )
    try:
        made = production.accept(*[a_lead(firstName="Secret") for _ in range(100)])

        # Then it says so, and nothing of a lead
        until(lambda: status(production)["storing_problem"], 30, 0.2)
        found = status(production)
        assert found["storing_problem"].endswith("OperationalError 1644")
        assert "Secret" not in str(found)
        assert found["waiting"] == 100
    finally:
        database_server.execute(f"DROP TRIGGER {database}.refusal")

    # And no longer, once they are stored
    production.wait_until_stored(*made, within=60)
    until(lambda: status(production)["storing_problem"] is None, 30, 0.2)


def test_it_says_that_the_queue_is_full(tmp_path: Path):
    # Given a service that lets a hundred leads wait, whose worker does not go on
    with Service(tmp_path, queue_max=100) as service:
        with service.suspended("worker"):
            assert status(service)["queue_full"] is False

            made = service.accept(*[a_lead() for _ in range(100)])

            until(lambda: status(service)["queue_full"], 30, 0.5)
            assert_error(service.post("/api/leads", a_lead()), 503)
        service.wait_until_stored(*made)
        until(lambda: not status(service)["queue_full"], 30, 0.5)


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
