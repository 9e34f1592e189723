"""Metrics: what a real Prometheus gets from the running service, and what the dashboard's queries make of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.kit.databases import MySQLServer
from tests.kit.leads import a_lead
from tests.kit.servers import PrometheusServer, RedisServer, until
from tests.kit.service import Service

ROOT = Path(__file__).parents[2]
OVERVIEW = json.loads((ROOT / "compose" / "monitoring" / "grafana" / "dashboards" / "overview.json").read_text())
QUERIES = [
    (f"{panel['title']}: {target['legendFormat']}", target["expr"])
    for panel in OVERVIEW["panels"]
    for target in panel.get("targets", ())
]

# Only what happened can be counted by its reason.
SENT = 40

# With the one lead that the capped source may send.
ACCEPTED = 2 * SENT + 1


@pytest.fixture(scope="module")
def scraped(
    tmp_path_factory: pytest.TempPathFactory, mysql_server: MySQLServer
) -> Iterator[tuple[Service, PrometheusServer]]:
    """A service of its own, and the Prometheus that scrapes it."""
    directory, url = tmp_path_factory.mktemp("scraped"), mysql_server.create_database()
    # Nobody else on its Redis: another service's workers would store its leads elsewhere.
    settings = {"database_url": url, "http_workers": 2, "duplicate_days": 30}
    with RedisServer() as queue, Service(directory, redis_url=queue.url, **settings) as service:
        queue.client().config_set("maxmemory", 512 * 1024 * 1024)
        targets = {
            "leads-api": f"127.0.0.1:{service.port}",
            "leads-worker": f"127.0.0.1:{service.settings['worker_metrics_port']}",
        }
        with PrometheusServer(targets) as prometheus:
            # A counter that is new has no rate: all of them are scraped once before they grow.
            sender, capped = a_source(service, "sender"), a_source(service, "capped", "--daily-cap", "1")
            assert service.post("/api/leads", a_lead(), capped).status_code == 202
            use(service, sender, capped)
            until(lambda: prometheus.query("leads_rejected_total"), 30, 0.2)
            until(lambda: prometheus.query("leads_source_refused_total"), 30, 0.2)
            until(lambda: prometheus.query("leads_source_stored_total"), 30, 0.2)
            until(lambda: prometheus.query("leads_seen_before_total"), 30, 0.2)
            until(lambda: prometheus.query("leads_stored_total > 0"), 30, 0.2)
            use(service, sender, capped)
            for name in ("leads_accepted_total", "leads_stored_total"):
                until(lambda name=name: prometheus.query(f"{name} >= {ACCEPTED}"), 30, 0.2)
            yield service, prometheus


def a_source(service: Service, name: str, *options: str) -> str:
    """Make a source; return its key, which every process knows."""
    done = service.run("ingest_api", "source", "create", name, "--role", "ingest", "--role", "read", *options)
    key = done.stdout.strip()
    until(lambda: service.statuses("GET", "/api/leads", key) == {200}, 30, 0.1)
    return key


def use(service: Service, sender: str, capped: str) -> None:
    """Accept leads one by one, one of them of a source, refuse two, list them, and wait until they are stored."""
    tokens = [sender, *[""] * (SENT - 1)]
    ids = [service.post("/api/leads", a_lead(), token).json()["data"]["id"] for token in tokens]
    assert service.post("/api/leads", {}).status_code == 400
    assert service.post("/api/leads", a_lead(), capped).status_code == 429
    service.get("/api/leads")
    service.wait_until_stored(*ids, within=30)


def exposed(url: str) -> dict[str, float]:
    """Return the samples of a target, by name and labels."""
    lines = httpx.get(url, timeout=20).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.mark.parametrize(("panel", "expr"), QUERIES, ids=[name for name, _ in QUERIES])
def test_each_query_of_the_dashboard_has_an_answer(scraped: tuple[Service, PrometheusServer], panel: str, expr: str):
    _, prometheus = scraped

    found = until(lambda: prometheus.query(expr), 30, 0.3)

    # A route that nobody used lately has no latency.
    assert any(sample["value"][1] not in ("NaN", "+Inf", "-Inf") for sample in found)


def test_the_metrics_of_all_processes_are_counted_together(scraped: tuple[Service, PrometheusServer]):
    service, _ = scraped
    api, worker = (
        f"http://127.0.0.1:{service.settings[name]}/metrics" for name in ("http_port", "worker_metrics_port")
    )

    # Asked of whichever process takes the connection.
    answers = [exposed(api) for _ in range(6)]

    for found in answers:
        assert found["leads_accepted_total"] == ACCEPTED
        assert found['leads_http_requests_total{method="POST",route="/api/leads",status="202"}'] == ACCEPTED
        assert found['leads_rejected_total{reason="invalid"}'] == 2
        assert found["leads_api_processes"] == 2
        assert found['leads_ledger{place="imbalance"}'] == 0
        assert found["leads_queue_oldest_age_seconds"] == 0
    stored = exposed(worker)
    assert stored["leads_stored_total"] == ACCEPTED
    assert stored["leads_batch_leads_sum"] == ACCEPTED
    batches = stored["leads_storing_delay_seconds_count"]
    assert batches == stored["leads_batch_leads_count"]
    assert 0 < stored["leads_storing_delay_seconds_sum"] / batches < 30
    assert stored["leads_worker_processes"] == 2


def test_what_is_answered_is_what_is_documented(scraped: tuple[Service, PrometheusServer]):
    service, _ = scraped
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| `(leads_\w+)` \| (\w+) \|", page, re.MULTILINE))
    answered: dict[str, str] = {}
    for name in ("http_port", "worker_metrics_port"):
        text = httpx.get(f"http://127.0.0.1:{service.settings[name]}/metrics", timeout=20).text
        answered |= dict(re.findall(r"^# TYPE (leads_\w+) (\w+)$", text, re.MULTILINE))

    assert answered == documented


def test_the_oldest_waiting_lead_has_an_age_and_a_dead_pool_process_is_counted_no_more(
    scraped: tuple[Service, PrometheusServer],
):
    service, _ = scraped
    worker = f"http://127.0.0.1:{service.settings['worker_metrics_port']}/metrics"
    before = exposed(worker)["leads_stored_total"]
    pool = service.one("worker").children()
    for process in pool:
        process.suspend()
    try:
        service.accept(a_lead())
        until(lambda: exposed(f"{service.base_url}/metrics")["leads_queue_oldest_age_seconds"] > 0.2, 20, 0.1)
    finally:
        for process in pool:
            process.kill()

    until(lambda: exposed(worker)["leads_stored_total"] == before + 1, 40, 0.2)
    until(lambda: exposed(worker)["leads_worker_processes"] == 2, 20, 0.2)
    assert not any(psutil.pid_exists(process.pid) for process in pool)


def test_no_alert_fires_while_all_is_well(scraped: tuple[Service, PrometheusServer]):
    _, prometheus = scraped

    assert until(lambda: prometheus.query('up{job="leads-worker"} == 1'), 20, 0.2)
    # The processors of the machine that runs the tests are another matter; a scrape that took too long is over soon.
    until(lambda: prometheus.firing() <= {"LeadsCpuHigh", "LeadsResponseTimeHigh"}, 60, 0.5)
