"""What the page tells while a part is away, and that it recovers by itself, without a reload."""

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.kit.databases import MariaDBServer
from tests.kit.leads import a_lead
from tests.kit.page import LeadPage
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

pytestmark = pytest.mark.destructive("queue", "database")

WAITING = 3000  # leads

# Seconds that a slow network adds to each request.
SLOW = 2.0


@pytest.fixture(scope="module")
def database_server() -> Iterator[MariaDBServer]:
    """A server of this module's own."""
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def production(
    database_server: MariaDBServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service on these. It does not wait long for a database that hangs."""
    servers = {"redis_url": redis_server.url, "database_url": database_server.create_database(tls=False)}
    with Service(tmp_path_factory.mktemp("trouble"), **servers, claim_after=2, database_timeout=3) as service:
        service.token()
        yield service


@pytest.fixture
def now(production: Service, page: LeadPage) -> Iterator[LeadPage]:
    """The view Now, while all is well; afterwards it has not been reloaded."""
    page.visit(production)
    page.log_in()
    page.wait(lambda: page.attribute("#state", "data-level") == "ok")
    page.run("window.before = true")
    yield page
    assert page.run("return window.before"), "the page was reloaded"


def wait_until_all_is_well(page: LeadPage) -> None:
    page.wait(lambda: page.shown("#state-sentence") == "All is well")
    page.wait(lambda: page.attribute("#ledger", "data-level") == "ok")
    assert page.attribute("#state", "data-level") == "ok"
    assert page.attribute("#main", "data-stale") == "false"


def test_try_it_is_not_offered_where_leads_are_real(production: Service, now: LeadPage):
    assert now.tabs() == ["now", "leads"]

    now.run("location.hash = '#try'")

    now.wait(lambda: now.run("return location.hash") == "#now")
    assert now.shown("#heading") == "Now"


def test_a_queue_that_is_away_is_told_in_large_type_until_it_is_back(
    production: Service, redis_server: RedisServer, now: LeadPage
):
    redis_server.kill()
    try:
        now.wait(lambda: now.shown("#state-sentence").startswith("The queue is away"))
        assert "new leads are refused" in now.shown("#state-sentence")
        assert production.post("/api/leads", a_lead()).status_code == 503
        assert now.attribute("#state", "data-level") == "bad"
        assert now.driver.title.startswith("Alarm: ")
        assert "unknown: the queue is away" in now.shown("#ledger")
        assert now.attribute("#ledger", "data-level") == "unknown"
        assert now.shown("#waiting") == "–"
        assert "Alarm: The queue is away" in now.shown("#state-live")
        assert now.run("return document.querySelector('#servers [data-level=bad]').textContent").startswith("Queue")
    finally:
        redis_server.start()

    wait_until_all_is_well(now)


def test_while_the_database_is_away_leads_wait_and_none_is_lost_and_then_the_line_turns_green(
    production: Service, database_server: MariaDBServer, now: LeadPage
):
    before = production.ledger()["accepted"]
    database_server.kill()
    try:
        now.wait(lambda: now.shown("#state-sentence").startswith("The database is away"))

        for number in range(WAITING // 1000):
            production.accept(*[a_lead() for _ in range(1000)])
            # Rates come from the growth of what waits
            if number == 0:
                now.wait(lambda: (now.number("#accepted-rate") or 0) > 0)

        said = f"The database is away: {WAITING:,} leads wait, none is lost"
        now.wait(lambda: now.shown("#state-sentence") == said)
        assert now.attribute("#state", "data-level") == "bad"
        assert re.search(r"The oldest waits for [\d.]+ s", now.shown("#state-detail"))
        assert now.number("#waiting") == WAITING
        assert now.number("#stored-rate") == 0
        assert re.match(r"[\d.]+ (s|min)", now.shown("#oldest"))
        assert "unknown: the database is away" in now.shown("#ledger")
        now.wait(lambda: "counted itself" in now.shown("#chart-note"))
        now.wait(lambda: sum(accepted for accepted, _, _ in now.bars()) > 0)
    finally:
        database_server.start()

    wait_until_all_is_well(now)
    said = f"accepted {before + WAITING:,} = stored {before + WAITING:,} + waiting 0"
    now.wait(lambda: now.shown("#ledger") == said)
    now.wait(lambda: now.shown("#chart-note") == "")
    assert now.number("#waiting") == 0


def test_without_any_api_process_the_numbers_are_marked_as_old_until_one_answers(production: Service, now: LeadPage):
    waiting = now.shown("#waiting")
    production.stop()
    try:
        now.wait(lambda: now.shown("#state-sentence").startswith("Not current since "))

        assert re.fullmatch(r"Not current since [\d: APM\s]+: the API does not answer", now.shown("#state-sentence"))
        assert now.attribute("#state", "data-level") != "ok"
        assert now.attribute("#main", "data-stale") == "true"
        assert ": Not current since " in now.driver.title
        # They are still there for who wants to know how it was
        assert now.shown("#waiting") == waiting
        assert now.shown("#ledger").startswith("accepted ")
    finally:
        production.start()

    wait_until_all_is_well(now)


def test_processes_that_hang_are_noticed_as_those_that_are_gone(production: Service, now: LeadPage):
    with production.suspended("api"):
        now.wait(lambda: now.attribute("#main", "data-stale") == "true")
        assert now.shown("#state-sentence").startswith("Not current since ")

    wait_until_all_is_well(now)


def test_on_a_slow_network_the_numbers_stay_current(production: Service, now: LeadPage):
    with now.network(latency=SLOW):
        for _ in range(2):
            production.accept(a_lead())
            accepted = production.ledger()["accepted"]
            now.wait(lambda accepted=accepted: f"accepted {accepted:,} " in now.shown("#ledger"))
            assert now.attribute("#main", "data-stale") == "false"
            assert now.attribute("#state", "data-level") == "ok"


def test_on_a_slow_network_a_log_in_is_sent_once(production: Service, page: LeadPage):
    page.visit(production)
    page.requests()

    with page.network(latency=SLOW):
        page.try_to_log_in()
        assert page.run("return document.getElementById('login-submit').disabled")
        page.press(Keys.ENTER)
        page.wait(lambda: page.is_there("#logout"))
        page.wait(lambda: page.number("#waiting") is not None)

    assert len([each for each in page.requests() if each.endswith("/api/login_check")]) == 1


def test_without_a_network_the_numbers_are_marked_as_old_until_it_is_back(production: Service, now: LeadPage):
    with now.network(offline=True):
        now.wait(lambda: now.attribute("#main", "data-stale") == "true")
        assert now.shown("#state-sentence").endswith(": the API does not answer")
        assert "The page goes on asking." in now.shown("#state-detail")

    wait_until_all_is_well(now)


def test_without_a_network_the_log_in_says_so_and_may_be_tried_again(production: Service, page: LeadPage):
    page.visit(production)

    with page.network(offline=True):
        page.try_to_log_in()
        page.wait_for("#login-message", "The API does not answer.")

    page.click("#login-submit")
    page.find("#logout")


def test_a_list_that_is_refused_is_answered_as_the_api_says_it_and_comes_by_itself(
    production: Service, database_server: MariaDBServer, now: LeadPage
):
    now.go("leads")
    now.wait(lambda: now.shown("#leads-total") != "")
    with database_server.hanging():
        now.click("#leads-again")
        now.wait(lambda: re.search(r"503 .*Request \S{8}", now.shown("#leads-problem")))
        until(lambda: production.get("/api/leads").status_code == 503)
        assert production.get("/api/leads").json()["message"] in now.shown("#leads-problem")

    now.wait(lambda: now.shown("#leads-problem") == "")
