"""/health/live, /health/ready, /metrics, /api/openapi.json and /api/docs: none of them asks for a token."""

import re
from urllib.parse import urljoin

from tests.kit.leads import a_lead, assert_success
from tests.kit.servers import until
from tests.kit.service import Service


def metric(service: Service, name: str) -> float:
    """Return the sum of a metric over its labels."""
    text = service.get("/metrics", token=None).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def test_a_process_that_answers_is_alive(service: Service):
    assert_success(service.get("/health/live", token=None), 200)


def test_with_queue_and_database_the_service_is_ready(service: Service):
    data = assert_success(service.get("/health/ready", token=None), 200)

    assert (data["queue"], data["database"]) == (True, True)


def test_the_databases_primary_is_named_to_those_inside(service: Service):
    servers = assert_success(service.get("/health/ready", token=None), 200)["servers"]
    text = service.get("/metrics", token=None).text

    # SQLite has no servers.
    named = servers.get("database", {}).get("primary")
    assert (named is None) == ("database_url" not in service.settings)
    assert re.findall(r'^leads_database_primary{server="(\S+)"} 1.0$', text, re.MULTILINE) == [named] * bool(named)


def test_metrics_are_prometheus_text(service: Service):
    answer = service.get("/metrics", token=None)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    for line in answer.text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \S+ .*|[a-zA-Z_:][\w:]*({(\w+="[^"]*",?)*})? \S+', line), line


def test_metrics_of_all_processes_are_summed_up(service: Service):
    # Each request may be another process's: the sum must not depend on who answers.
    before = metric(service, "leads_accepted_total")

    for _ in range(20):
        service.accept(a_lead())

    assert {metric(service, "leads_accepted_total") for _ in range(10)} == {before + 20}


def test_metrics_hold_nothing_of_a_lead(service: Service):
    lead = a_lead(firstName="Metricsname")
    (made,) = service.accept(lead)
    service.get(f"/api/leads/{made}")
    service.get(f"/api/leads?email={lead['email']}")
    service.get("/api/nothing/Metricsname")

    text = service.get("/metrics", token=None).text

    assert lead["email"] not in text
    assert made not in text
    assert "Metricsname" not in text


def test_the_openapi_document_names_each_path(service: Service):
    answer = service.get("/api/openapi.json", token=None)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    paths = {"/api/login_check", "/api/leads", "/api/leads/bulk", "/api/leads/{id}", "/api/leads/stats"}
    named = {re.sub(r"{\w+}", "{id}", path) for path in document["paths"]}
    assert paths | {"/health/live", "/health/ready"} <= named


def test_the_documentation_is_a_page(service: Service):
    answer = service.get("/api/docs", token=None, headers={"Accept": "text/html"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    for script in re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', answer.text):
        # From our own server alone: the page works without the internet.
        assert service.get(urljoin("/api/docs", script), token=None).status_code == 200


def test_accepted_is_stored_and_dead_and_waiting(service: Service):
    service.wait_until_stored(*service.accept(*[a_lead() for _ in range(5)]))

    def adds_up() -> bool:
        text = service.get("/metrics", token=None).text
        places = {place: float(number) for place, number in re.findall(r'leads_ledger{place="(\w+)"} (\S+)', text)}
        accepted = places["accepted"]
        elsewhere = places["stored"] + places["expired"] + places["dead"] + places["dropped"] + places["waiting"]
        return accepted == elsewhere > 0 and places["imbalance"] == 0 and places["waiting"] == 0

    until(adds_up)
    # Each process has numbers of its own, which may be a second old.
    until(lambda: service.page()["pagination"]["total"] == stored(service))


def stored(service: Service) -> int:
    text = service.get("/metrics", token=None).text
    return int(float(re.findall(r'leads_ledger{place="stored"} (\S+)', text)[0]))
