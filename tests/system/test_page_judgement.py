"""What the page concludes from readings that are rare, or long in coming: its modules judge them in the browser."""

from typing import Any

import pytest

from tests.kit.page import LeadPage
from tests.kit.service import Service

# Seconds between two readings.
REFRESH = 2

# Returns what the page says after each of some readings.
JUDGE = """
    const readings = arguments[0];
    return (async () => {
        const {LedgerWatch, findings} = await import('/page/state.js');
        const {Flow} = await import('/page/flow.js');
        const [watch, flow] = [new LedgerWatch(), new Flow()];
        return readings.map((status) => {
            flow.take(status);
            const [ledger, rates] = [watch.take(status), flow.rates()];
            return {ledger: ledger.level, rates, found: findings(status, ledger, rates)};
        });
    })();
"""

# Returns the texts beside the axis of a chart of fifteen minutes with so many leads accepted in each.
AXIS = """
    const accepted = arguments[0];
    return (async () => {
        const {drawChart} = await import('/page/chart.js');
        const place = document.createElement('div');
        place.style.height = '300px';
        document.body.append(place);
        const bars = Array.from({length: 15}, (_, minute) =>
            ({start: 60 * minute, width: 60, elapsed: 60, rates: [accepted / 60, accepted / 60, 0]}));
        drawChart(place, bars, null);
        const texts = [...place.querySelectorAll('text[text-anchor=end]')].map((each) => each.textContent);
        place.remove();
        return texts;
    })();
"""

# Returns the seconds until each turn of something that is followed, up to the last.
TURNS = """
    const [first, longest, minutes] = arguments;
    return (async () => {
        const {slower} = await import('/page/poll.js');
        const next = slower(first, longest, minutes);
        const turns = [];
        for (let seconds = next(); seconds !== null; seconds = next()) turns.push(seconds);
        return turns;
    })();
"""

# Returns how often a task ran that fails each time, while the page was seen twice.
FAILING = """
    return (async () => {
        const {poll} = await import('/page/poll.js');
        let turns = 0;
        const settle = () => new Promise((done) => setTimeout(done));
        window.addEventListener('unhandledrejection', (event) => event.preventDefault());
        const stop = poll(async () => { turns += 1; throw new Error('made by a test'); });
        await settle();
        document.dispatchEvent(new Event('visibilitychange'));
        await settle();
        stop();
        return turns;
    })();
"""


@pytest.fixture
def opened(seen: Service, page: LeadPage) -> LeadPage:
    """The page, with nobody logged in."""
    page.visit(seen)
    return page


def reading(at: float, **changes: Any) -> dict[str, Any]:
    """Return an answer of /api/status, `at` seconds after the first."""
    status = {
        "time": f"2026-11-30T12:{int(at) // 60:02}:{at % 60:06.3f}Z",
        "embedded": False,
        "queue": True,
        "database": True,
        "waiting": 0,
        "queue_full": False,
        "oldest_age_seconds": None,
        "storing_problem": None,
        "dead_letters": 0,
        "storing_delay_seconds": None,
        "refused_today": 0,
        "ledger": ledger(),
        "servers": {"queue": []},
    }
    return status | changes


def ledger(accepted: int = 10_000, stored: int = 10_000, waiting: int = 0) -> dict[str, int]:
    imbalance = accepted - stored - waiting
    places = {"stored": stored, "waiting": waiting, "dead": 0, "dropped": 0, "expired": 0, "erased": 0}
    return {"accepted": accepted, **places, "imbalance": imbalance}


def judged(page: LeadPage, *readings: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says after the last of some readings."""
    last: dict[str, Any] = page.run(JUDGE, readings)[-1]
    return last


def test_leads_in_flight_before_and_after_a_pause_are_no_loss(opened: LeadPage):
    in_flight = ledger(accepted=10_000, stored=9_000)

    said = judged(opened, reading(0, ledger=in_flight), reading(300, ledger=in_flight))

    assert said["ledger"] == "warn"
    assert [each["kind"] for each in said["found"]] == ["ok"]


def test_an_imbalance_that_stays_is_a_loss(opened: LeadPage):
    lost = ledger(accepted=10_000, stored=9_000)

    said = judged(opened, *(reading(at, ledger=lost) for at in range(0, 42, REFRESH)))

    assert said["ledger"] == "bad"
    assert said["found"][0]["sentence"] == "The ledger has been off by 1,000 for 40 s"


def test_while_the_ledger_cannot_be_read_nobody_knows_what_is_accepted_or_stored(opened: LeadPage):
    flowing = [reading(at, ledger=ledger(10_000 + 50 * at, 10_000 + 50 * at)) for at in range(0, 10, REFRESH)]
    unread = [
        reading(at, ledger=None, waiting=20_000 - 500 * at, oldest_age_seconds=60, refused_today=at // 2)
        for at in range(10, 30, REFRESH)
    ]

    said = judged(opened, *flowing, *unread)

    assert said["rates"] == {"accepted": None, "stored": None, "refused": pytest.approx(0.5)}
    assert [(each["kind"], each["detail"]) for each in said["found"]] == [("waiting", "")]
    # And again once it can be: what came in between is not taken for that of two seconds
    back = [reading(at, ledger=ledger(90_000 + 50 * at, 90_000 + 50 * at)) for at in range(30, 36, REFRESH)]
    said = judged(opened, *flowing, *unread, *back)
    assert said["rates"] | {"refused": 0} == {"accepted": pytest.approx(50), "stored": pytest.approx(50), "refused": 0}


def test_a_large_backlog_is_told_before_it_is_old(opened: LeadPage):
    young = {"waiting": 900_000, "oldest_age_seconds": 5, "ledger": ledger(1_000_000, 100_000, 900_000)}

    said = judged(opened, reading(0, **young))

    (found,) = said["found"]
    assert (found["level"], found["kind"]) == ("warn", "waiting")
    assert found["sentence"].startswith("900,000 leads wait")


def test_workers_that_store_nothing_are_asked_after(opened: LeadPage):
    waiting = {"waiting": 1_000, "oldest_age_seconds": 60, "ledger": ledger(11_000, 10_000, 1_000)}

    said = judged(opened, *(reading(at, **waiting) for at in range(0, 12, REFRESH)))

    assert "Do the workers run?" in said["found"][0]["detail"]


def test_while_the_database_is_away_what_waits_more_was_accepted(opened: LeadPage):
    away = {"database": False, "ledger": None, "oldest_age_seconds": 20}

    said = judged(opened, *(reading(at, waiting=100 * at, **away) for at in range(0, 12, REFRESH)))

    assert said["rates"] == {"accepted": pytest.approx(100), "stored": 0, "refused": 0}


def test_leads_that_were_refused_while_the_queue_was_away_are_not_taken_for_those_of_two_seconds(opened: LeadPage):
    away = {"queue": False, "waiting": None, "ledger": None, "refused_today": None, "dead_letters": None}

    first = [reading(0), reading(2), *(reading(at, **away) for at in range(4, 30, REFRESH))]
    back = [reading(at, refused_today=3_000) for at in (30, 32)]

    assert judged(opened, *first, back[0])["rates"] == {"accepted": None, "stored": None, "refused": None}
    assert judged(opened, *first, *back)["rates"] == {"accepted": 0, "stored": 0, "refused": 0}


@pytest.mark.parametrize(
    ("accepted", "refused", "detail"), [(0, 8, "None is accepted."), (3, 8, "Only 3 a second are accepted.")]
)
def test_it_is_told_when_most_of_what_comes_in_is_refused(opened: LeadPage, accepted: int, refused: int, detail: str):
    flowing = (
        reading(at, refused_today=refused * at, ledger=ledger(accepted * at, accepted * at))
        for at in range(0, 12, REFRESH)
    )

    found = judged(opened, *flowing)["found"]

    assert [(each["level"], each["kind"]) for each in found] == [("warn", "refused")]
    assert found[0]["sentence"] == "8 leads a second are refused"
    assert detail in found[0]["detail"]


def test_some_that_are_refused_among_many_are_no_matter(opened: LeadPage):
    flowing = (reading(at, refused_today=2 * at, ledger=ledger(9 * at, 9 * at)) for at in range(0, 12, REFRESH))

    assert [each["kind"] for each in judged(opened, *flowing)["found"]] == ["ok"]


def test_a_full_queue_is_told_first_and_nobody_says_that_leads_are_accepted(opened: LeadPage):
    full = reading(0, queue_full=True, database=False, ledger=None, waiting=5_000, oldest_age_seconds=100)

    first, second = judged(opened, full)["found"]

    assert first["sentence"] == "The queue is full: new leads are refused, none that was accepted is lost"
    assert (first["level"], second["kind"]) == ("bad", "database")
    assert "New leads are accepted" not in second["detail"]


def test_servers_that_are_away_while_others_answer_are_told(opened: LeadPage):
    queue = [{"shard": 0, "primary": "one:6379"}, {"shard": 1, "error": "This server does not answer."}]
    members = {"one:3306": "ONLINE", "two:3306": "UNREACHABLE"}

    found = judged(opened, reading(0, ledger=None, servers={"queue": queue, "database": {"members": members}}))["found"]

    assert [(each["level"], each["sentence"]) for each in found] == [
        ("warn", "1 of 2 queue servers is away"),
        ("warn", "1 database server not online"),
    ]


@pytest.mark.parametrize("accepted", [1, 3, 6, 60, 90, 6_000])
def test_the_lines_of_the_chart_have_numbers_that_differ(opened: LeadPage, accepted: int):
    texts = opened.run(AXIS, accepted)

    assert len(texts) > 1
    assert len({*texts}) == len(texts)
    assert opened.run("return import('/page/format.js').then(({rate}) => rate(arguments[0]))", accepted / 60) != "0"


def test_what_is_followed_is_asked_for_less_and_less_and_not_for_ever(opened: LeadPage):
    turns = opened.run(TURNS, 2, 30, 10)

    assert turns[0] == pytest.approx(2)
    assert turns == sorted(turns)
    assert max(turns) == 30
    assert 500 < sum(turns) <= 600


def test_a_task_that_fails_is_run_again_when_the_page_is_seen_again(opened: LeadPage):
    assert opened.run(FAILING) == 2


def test_a_page_without_one_of_its_modules_says_what_to_do(opened: LeadPage, seen: Service):
    opened.driver.execute_cdp_cmd("Network.enable", {})
    opened.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/page/flow.js"]})
    try:
        opened.open("about:blank")
        opened.open(f"{seen.base_url}/")
        opened.wait_for("main", "Reload the page if this stays")
    finally:
        opened.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})

    opened.visit(seen)
    assert "Reload" not in opened.shown("main")
