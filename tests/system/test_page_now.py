"""The view Now: its numbers are the API's, and they follow what happens."""

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.page import LeadPage
from tests.kit.servers import until
from tests.kit.service import Service

# `make screenshots` sets it to where the README's pictures are.
PICTURES = os.environ.get("SCREENSHOTS")

NOT_A_LEAD = {"firstName": ""}
SERIES = ("accepted", "stored", "refused")

# Milliseconds between two readings of the state, and how long a hidden page is watched.
REFRESH, WATCHED = 2_000, 6_000

# Milliseconds of leads before the picture: most bars of the chart.
BUSY = 840_000
HEIGHT = "return document.scrollingElement.scrollHeight"


@pytest.fixture
def now(seen: Service, page: LeadPage) -> LeadPage:
    """The view, with its first reading, while nothing waits."""
    page.visit(seen)
    page.log_in()
    page.wait(lambda: page.number("#waiting") == 0)
    return page


@contextmanager
def flowing(service: Service) -> Iterator[None]:
    """Send leads, and some that are refused, all the time: now more, now less."""
    stopped = threading.Event()
    headers = service.headers()

    def send() -> None:
        began = time.monotonic()
        while not stopped.wait(0.5):
            wave = 1 + math.sin((time.monotonic() - began) / 90)
            body = [*(a_lead() for _ in range(int(10 + 30 * wave))), NOT_A_LEAD, NOT_A_LEAD]
            service.client.post("/api/leads/bulk", json=body, headers=headers)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stopped.set()
        sender.join()


def status(service: Service) -> dict:
    return service.get("/api/status").json()["data"]


def sums(rows: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)] if rows else []


def counted(service: Service, requests: list[str]) -> list[int]:
    """Return what the API counts over the range that the page asked for last."""
    asked = [each.partition("?")[2] for each in requests if "/api/leads/stats?" in each]
    data = service.get(f"/api/leads/stats?{asked[-1]}").json()["data"]
    return [data[each] for each in SERIES]


def test_the_numbers_are_those_of_the_api(seen: Service, now: LeadPage):
    seen.accept(*[a_lead() for _ in range(7)])
    assert seen.post("/api/leads", NOT_A_LEAD).status_code == 400
    seen.wait_until_nothing_waits()

    ledger = status(seen)["ledger"]
    said = f"accepted {ledger['accepted']:,} = stored {ledger['stored']:,} + waiting 0"
    now.wait(lambda: now.shown("#ledger").startswith(said))

    # One reading is of several moments
    now.wait(lambda: re.fullmatch(r"[\d.]+ s", now.shown("#delay")))
    assert now.attribute("#ledger", "data-level") == "ok"
    assert now.shown("#waiting") == "0"
    assert now.shown("#oldest") == "–"
    assert now.shown("#state-sentence") == "All is well"
    assert now.attribute("#state", "data-level") == "ok"
    assert now.driver.title.startswith("Good: All is well")
    # The chart, as soon as it has read the statistics again
    requests: list[str] = []

    def are_equal() -> bool:
        requests.extend(now.requests())
        return sums(now.bars()) == counted(seen, requests)

    now.wait(are_equal)
    assert min(counted(seen, requests)) > 0


def test_the_servers_are_those_that_the_api_knows(seen: Service, now: LeadPage):
    primary = status(seen)["servers"]["queue"][0]["primary"]

    assert primary in now.shown("#servers")
    assert "Database" in now.shown("#servers")
    assert now.run("return [...document.querySelectorAll('#servers li')].every((each) => each.dataset.level === 'ok')")


def test_while_leads_flow_the_rates_rise_and_then_it_is_calm_and_balanced_again(seen: Service, now: LeadPage):
    with flowing(seen):
        now.wait(lambda: all((now.number(f"#{each}-rate") or 0) > 0 for each in SERIES))
        now.wait(lambda: (now.number("#legend-accepted") or 0) > 0)
        # And the chart says it in words too
        label = str(now.attribute("#chart", "aria-label"))
        assert re.search(r"Now accepted [\d.,]+, of these stored [\d.,]+, refused [\d.,]+\.", label)
        assert now.is_there("#chart svg path.accepted")

    seen.wait_until_nothing_waits()
    now.wait(lambda: {now.number(f"#{each}-rate") for each in SERIES} == {0})
    now.wait(lambda: now.attribute("#ledger", "data-level") == "ok")
    assert now.attribute("#state", "data-level") == "ok"
    assert now.errors() == []


@pytest.mark.parametrize(
    ("name", "label", "bars"), [("hour", "an hour", 60), ("day", "a day", 144), ("15m", "15 minutes", 15)]
)
def test_the_chart_shows_another_range(seen: Service, now: LeadPage, name: str, label: str, bars: int):
    other = "hour" if name == "15m" else "15m"
    now.click(f"label[for=range-{other}]")
    now.bars()
    now.requests()

    now.click(f"label[for=range-{name}]")

    requests: list[str] = []

    def is_asked() -> bool:
        requests.extend(now.requests())
        return any("/api/leads/stats?" in each for each in requests)

    now.wait(is_asked)
    now.wait(lambda: len(now.bars()) == bars)
    now.wait(lambda: sums(now.bars()) == counted(seen, requests))
    assert f"over {label}." in str(now.attribute("#chart", "aria-label"))
    # The address has it, for those who keep a bookmark
    assert now.run("return location.hash") == f"#now?range={name}"


def test_a_hidden_page_asks_nothing_and_asks_at_once_when_it_is_seen(seen: Service, now: LeadPage):
    accepted = status(seen)["ledger"]["accepted"]
    with now.hidden():
        # What was on its way has come
        clock = "return performance.now()"
        hidden_at = now.run(clock)
        now.wait(lambda: now.run(clock) > hidden_at + REFRESH)
        now.requests()
        seen.accept(a_lead(), a_lead(), a_lead())
        now.wait(lambda: now.run(clock) > hidden_at + REFRESH + WATCHED)
        assert now.requests() == []

    now.wait(lambda: f"accepted {accepted + 3:,}" in now.shown("#ledger"))
    assert any("/api/status" in each for each in now.requests())
    assert now.attribute("#main", "data-stale") == "false"


def test_a_reader_is_told_of_the_state_once_and_not_with_each_number(seen: Service, now: LeadPage):
    watch = """
        window.said = [];
        const live = document.getElementById('state-live');
        const changes = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => said.push(live.textContent)).observe(live, changes);
    """
    assert now.attribute("#state-live", "aria-live") == "polite"
    now.run(watch)

    with flowing(seen):
        now.wait(lambda: (now.number("#stored-rate") or 0) > 0)
        before = now.shown("#as-of")
        now.wait(lambda: now.shown("#as-of") != before)

    assert now.run("return said") == []


@pytest.mark.skipif(not PICTURES, reason="make screenshots takes it")
@pytest.mark.timeout(1200)
def test_a_picture_for_the_readme_after_some_busy_minutes(on_mysql: Service, page: LeadPage):
    page.prefer(prefers_color_scheme="light")
    page.resize(1280)
    page.visit(on_mysql)
    page.log_in()
    clock = "return performance.now()"
    began = page.run(clock)

    with flowing(on_mysql):
        until(lambda: page.run(clock) > began + BUSY, BUSY / 1000 + 60, 1)
        page.wait(lambda: page.attribute("#state", "data-level") == "ok")
        page.run("document.activeElement.blur()")
        # The chart grows with the window
        page.wait(lambda: page.resize(1280, page.run(HEIGHT)) or page.run(f"{HEIGHT} <= innerHeight"))
        page.save(Path(str(PICTURES)) / "page.png")

    assert page.errors() == []
