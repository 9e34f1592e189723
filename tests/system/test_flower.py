"""Flower, looked at in a real browser: what the tickets did, nothing of a lead, and all of it after a restart."""

import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By

from tests.kit.browser import Browser, browser
from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import EMAIL, PASSWORD, Service

# `make screenshots` sets it to where the README's pictures are.
PICTURES = os.environ.get("SCREENSHOTS")

STORED = re.compile(r"'stored': (\d+)")

# Leads sent together: more than a batch holds, and a few.
LEADS = (1500, 37)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own that has stored leads, one batch of a known size, and found nothing else to do."""
    with Service(tmp_path_factory.mktemp("watched"), worker_concurrency=2) as service:
        for number in LEADS:
            service.accept(*[a_lead(lastName="Featherstonehaugh") for _ in range(number)])
            service.wait_until_nothing_waits()
        until(lambda: stored(service) == sum(LEADS), 20, 0.2)
        yield service


def tasks(service: Service) -> dict[str, dict]:
    """Return the successful tickets that Flower knows."""
    answer = httpx.get(service.flower_url + "/api/tasks", auth=(EMAIL, PASSWORD), timeout=20)
    found = answer.json()
    return {name: task for name, task in found.items() if task["name"] == "store_leads" and task["state"] == "SUCCESS"}


def stored(service: Service) -> int:
    """Return how many leads were stored by the tickets that Flower knows."""
    return sum(int(found[1]) for task in tasks(service).values() if (found := STORED.search(task["result"])))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    """A browser of its own."""
    with browser(tmp_path) as page:
        page.driver.set_window_size(1500, 900)
        yield page


def open_page(page: Browser, service: Service, path: str) -> None:
    """Open a page of Flower as its user."""
    host = service.flower_url.removeprefix("http://")
    page.open(f"http://{quote(EMAIL, safe='')}:{PASSWORD}@{host}{path}")


def rows(page: Browser) -> list[str]:
    """Return the text of each row of the page's table, or nothing while the page changes it."""
    try:
        return [row.text for row in page.driver.find_elements(By.CSS_SELECTOR, "table tbody tr")]
    except StaleElementReferenceException:
        return []


def test_the_tasks_page_shows_what_each_ticket_did_and_how_long_it_took(watched: Service, page: Browser):
    open_page(page, watched, "/tasks")
    page.find("input[placeholder*=state]").send_keys("store_leads")

    found: list[str] = []

    def are_filtered() -> bool:
        found[:] = rows(page)
        return bool(found) and all("store_leads" in row for row in found)

    until(are_filtered, 30, 0.3)

    text = "\n".join(found)
    assert sum(int(number) for number in STORED.findall(text)) == sum(LEADS)
    assert "SUCCESS" in text
    assert "'duplicates': 0" in text
    assert "'dead': 0" in text
    assert "ms" in text
    assert "Featherstonehaugh" not in page.driver.page_source
    assert page.errors() == []
    if PICTURES:
        assert page.driver.save_screenshot(str(Path(PICTURES) / "flower.png"))


def test_the_workers_page_shows_the_worker_and_its_pool(watched: Service, page: Browser):
    open_page(page, watched, "/workers")

    page.wait(lambda: "celery@" in page.text("table tbody"))

    assert "Online" in page.text("table tbody")
    assert page.errors() == []


def test_the_broker_page_shows_the_tickets_that_wait(watched: Service, page: Browser):
    pool = watched.one("worker").children()
    for process in pool:
        process.suspend()
    try:

        def waiting() -> bool:
            # The worker's main process holds one ticket for each of its pool; those after it wait.
            watched.accept(a_lead())
            open_page(page, watched, "/broker")
            found = [row.split() for row in rows(page)]
            return any(row[0] == "leads:tickets" and int(row[1]) >= 1 for row in found)

        until(waiting, 60, 0.5)
    finally:
        for process in pool:
            process.resume()


def listed(service: Service, name: str) -> list[str]:
    """Return what each run of a task that Flower lists returned."""
    found = httpx.get(service.flower_url + "/api/tasks", auth=(EMAIL, PASSWORD), timeout=20).json().values()
    return [str(task["result"]) for task in found if task["name"] == name]


def test_a_sweep_is_listed_when_it_did_something_or_failed_and_not_otherwise(tmp_path: Path):
    with Service(tmp_path, idempotency_ttl=3, sweep_interval=0.5, database_timeout=1) as quiet:
        quiet.wait_for_sweeps(5)
        service_tasks = httpx.get(quiet.flower_url + "/api/tasks", auth=(EMAIL, PASSWORD), timeout=20).json()
        assert {task["name"] for task in service_tasks.values()} <= {"store_leads"}

        # An Idempotency-Key whose time is over is deleted by a sweep.
        assert quiet.post("/api/leads", a_lead(), Idempotency_Key="once").status_code == 202
        until(lambda: listed(quiet, "sweep") == ["{'keys': 1, 'consumers': 0}"], 30, 0.2)

        # A sweep that the database refuses has failed.
        locked = sqlite3.connect(quiet.data / "leads.db", isolation_level=None)
        locked.execute("BEGIN EXCLUSIVE")
        try:
            until(lambda: any("'failed': " in result for result in listed(quiet, "sweep")), 60, 0.2)
        finally:
            locked.close()
        quiet.wait_for_sweeps(3)
        failed = listed(quiet, "sweep")
        quiet.wait_for_sweeps(5)

        assert listed(quiet, "sweep") == failed


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "worker/shutdown/{}",
        "worker/pool/restart/{}",
        "worker/queue/cancel-consumer/{}?queue=x",
        "task/async-apply/sweep",
    ],
)
def test_no_worker_is_stopped_and_no_task_started_from_its_pages(watched: Service, path: str):
    with httpx.Client(base_url=watched.flower_url + "/api", auth=(EMAIL, PASSWORD), timeout=20) as flower:
        worker = next(iter(flower.get("/workers", params={"refresh": 1}).json()))

        answer = flower.post("/" + path.format(worker), json={})

        assert (answer.status_code, answer.text) == (403, "Read only mode is enabled")
        assert worker in flower.get("/workers", params={"status": 1}).json()


def test_what_flower_has_seen_outlives_a_restart(watched: Service):
    before = tasks(watched)
    assert before
    watched.stop()
    watched.start()

    after = until(lambda: tasks(watched), 30, 0.2)

    assert before.keys() <= after.keys()
    for name, task in before.items():
        assert (after[name]["result"], after[name]["runtime"]) == (task["result"], task["runtime"])
