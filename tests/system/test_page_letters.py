"""The page's view Dead letters in a browser: why leads are dead, and what becomes of those that are replayed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.kit.databases import MariaDBServer
from tests.kit.leads import a_lead, assert_error
from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage, add_admin, go_to
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

from .lead_list import assert_logged
from .letter_list import REFUSED, WORSE, Refusing, as_cards, at_the_letters, cards, outcome, reasons, replay

# Dead letters that the page shows at once.
SHOWN = 25


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, mariadb_server: MariaDBServer) -> Iterator[Refusing]:
    """A service on MariaDB that turns any number of refused leads into dead letters."""
    # Replayed leads have no ticket: they are found by polling.
    settings = {"poll_interval": 0.3, "dead_letter_max_share": 1, "dead_letter_max_in_a_row": 0}
    url = mariadb_server.create_database(tls=False)
    with RedisServer(newest=False) as queue:
        directory = tmp_path_factory.mktemp("refusing")
        with Service(directory, redis_url=queue.url, database_url=url, **settings) as service:
            add_admin(service)
            yield Refusing(service, mariadb_server)


@pytest.fixture
def refusing(started: Refusing) -> Iterator[Refusing]:
    """The service without dead letters; those of the test are stored afterwards."""
    assert started.letters() == []
    yield started
    started.store_all()


def test_where_nothing_is_dead_there_is_nothing_to_replay(page: LeadPage, refusing: Refusing):
    at_the_letters(page, refusing)

    page.wait_for("#letters-total", "No dead letters")
    assert cards(page) == reasons(page) == []
    assert not page.is_there("#replay-all")


def test_dead_letters_are_shown_by_their_reasons(page: LeadPage, refusing: Refusing):
    # Given more of one reason than are shown at once
    refusing.dead_letter(
        *(a_lead(firstName=REFUSED) for _ in range(SHOWN + 2)), *(a_lead(firstName=WORSE) for _ in range(2))
    )
    letters = refusing.letters()
    many, few = (reason for reason, _ in Counter(each["reason"] for each in letters).most_common())
    total = len(letters)
    assert total == SHOWN + 4

    # Then the first are there, and the others when more are wanted
    at_the_letters(page, refusing)
    page.wait_for("#letters-total", f"{total} dead letters")
    until(lambda: cards(page) == as_cards(letters[:SHOWN]))
    assert reasons(page) == [f"All reasons {total}", f"{many} {SHOWN + 2}", f"{few} 2"]
    page.click("#letters-more")
    until(lambda: cards(page) == as_cards(letters))
    assert not page.run("return document.querySelector('#letters-more').checkVisibility()")

    # And those of one reason alone
    page.click("#reasons button:nth-child(3)")
    until(lambda: cards(page) == as_cards([each for each in letters if each["reason"] == few]))
    assert page.attribute("#reasons button:nth-child(3)", "aria-pressed") == "true"
    assert page.shown("#letters-total") == f"{total} dead letters"
    page.click("#reasons button:nth-child(2)")
    wanted = as_cards([each for each in letters if each["reason"] == many])
    until(lambda: cards(page) == wanted[:SHOWN])
    page.click("#letters-more")
    until(lambda: cards(page) == wanted)
    page.click("#reasons button:nth-child(1)")
    until(lambda: cards(page) == as_cards(letters[:SHOWN]))


def test_a_dead_letter_is_shown_with_its_lead(page: LeadPage, refusing: Refusing):
    # Given one whose texts mean something elsewhere
    name = "<img src=x onerror=window.broken=1></script>" + "x" * 200
    lead = a_lead(firstName=REFUSED, lastName=name, additionalData={name: [name, {"id": 2**63 - 1}]})
    (dead,) = refusing.dead_letter(lead)

    # Then it is shown as it was sent
    at_the_letters(page, refusing)
    (letter,) = refusing.letters()
    until(lambda: cards(page) == as_cards([letter]))
    card = f"[data-letter='{letter['letter']}']"
    shown = page.shown(card)
    assert f"{REFUSED} {name}" in shown
    assert lead["email"] in shown
    page.click(f"{card} summary")
    assert page.run("return document.querySelector(arguments[0]).checkVisibility()", f"{card} pre")
    for value in (name, "9223372036854775807", lead["phone"], lead["dateOfBirth"]):
        assert value in page.shown(f"{card} pre")
    assert page.run("return document.querySelectorAll('main :is(img, script)').length") == 0
    assert page.run("return window.broken ?? null") is None
    assert page.errors() == []
    for width in (320, 1280):
        page.resize(width)
        assert page.run("return document.scrollingElement.scrollWidth") <= width

    # And its own view says that it may be one
    page.click(f"{card} a")
    until(lambda: page.shown("#lead-id") == dead)
    assert "dead letter" in page.shown("#lead-state")


def test_a_name_that_turns_the_direction_of_writing_leaves_what_stands_beside_it(page: LeadPage, refusing: Refusing):
    lead = a_lead(firstName=REFUSED, lastName="a\u202eb")
    refusing.dead_letter(lead)

    at_the_letters(page, refusing)
    until(lambda: cards(page))

    script = """
        const texts = document.createTreeWalker(document.querySelector('#letters-list'), NodeFilter.SHOW_TEXT);
        while (!texts.nextNode().data.includes(arguments[0])) continue;
        const node = texts.currentNode;
        const at = node.data.indexOf(arguments[0]);
        return [at, at + arguments[0].length - 1].map((place) => {
          const range = new Range();
          range.setStart(node, place);
          range.setEnd(node, place + 1);
          return range.getBoundingClientRect().left;
        });
    """
    first, last = page.run(script, lead["email"])
    assert first < last


def test_one_that_is_replayed_is_seen_to_be_stored(page: LeadPage, refusing: Refusing):
    refusing.dead_letter(a_lead(firstName=REFUSED), a_lead(firstName=REFUSED))
    at_the_letters(page, refusing)
    letter, other = refusing.letters()
    refusing.refuse()

    replay(page, letter)

    until(lambda: "Stored" in outcome(page, letter))
    assert refusing.service.lead(letter["id"])["state"] == "stored"
    assert refusing.letters() == [other]
    # The number is right at once, and so are the others
    page.wait_for("#letters-total", "1 dead letter")
    until(lambda: reasons(page) == ["All reasons 1", f"{letter['reason']} 1"])
    assert outcome(page, other) == ""


def test_one_that_is_refused_again_is_told_to_be_dead_again(page: LeadPage, refusing: Refusing):
    (lead,) = refusing.dead_letter(a_lead(firstName=REFUSED))
    at_the_letters(page, refusing)
    (letter,) = refusing.letters()
    until(lambda: cards(page) == as_cards([letter]))
    page.requests()

    replay(page, letter)

    until(lambda: "dead letter again" in outcome(page, letter))
    assert page.run("return document.activeElement.closest('li').dataset.letter") == letter["letter"]
    # What died long before is not read for that
    asked = [each for each in page.requests() if "/api/dead-letters?" in each]
    assert asked
    assert all("after=" in each for each in asked)
    (again,) = refusing.letters()
    assert (again["id"], again["letter"] != letter["letter"]) == (lead, True)
    assert again["reason"] in outcome(page, letter)
    page.wait_for("#letters-total", "1 dead letter")
    # As such it can be replayed, once the database takes it
    page.click("#letters-again")
    until(lambda: cards(page) == as_cards([again]))
    refusing.refuse()
    replay(page, again)
    until(lambda: "Stored" in outcome(page, again))
    page.wait_for("#letters-total", "No dead letters")


def test_all_are_replayed_at_the_second_click_alone(page: LeadPage, refusing: Refusing):
    # Given some that the database takes by now, and some that it does not
    refusing.dead_letter(*(a_lead(firstName=name) for name in (REFUSED, WORSE, WORSE, REFUSED, WORSE)))
    at_the_letters(page, refusing)
    letters = refusing.letters()
    until(lambda: cards(page) == as_cards(letters))
    refusing.refuse(WORSE)
    page.requests()

    # When one click was a mistake
    page.click("#replay-all")
    page.click("#replay-all-cancel")
    page.find("#replay-all")
    assert not page.is_there("#replay-all-confirm")
    assert not [each for each in page.requests() if each.startswith("POST")]
    assert refusing.letters() == letters

    # And two were meant
    page.click("#replay-all")
    assert "5" in page.shown("#replay-all-confirm")
    page.click("#replay-all-confirm")
    # Its button is gone: a keyboard goes on from what it says
    assert page.run("return document.activeElement.id") == "replay-result"

    # Then the page says what became of them, and has those that are left
    assert_result(page, "5 replayed: 2 stored, 3 dead again.")
    left = refusing.letters()
    assert [each["lead"]["firstName"] for each in left] == [WORSE] * 3
    until(lambda: cards(page) == as_cards(left))
    page.wait_for("#letters-total", "3 dead letters")
    assert len([each for each in page.requests() if each.startswith("POST")]) == 1


def test_it_is_told_when_the_reasons_are_those_of_the_newest_alone(page: LeadPage, refusing: Refusing):
    # Given more than the API counts
    refusing.dead_letter(*(a_lead(firstName=REFUSED) for _ in range(3)))
    page.visit(refusing.service)
    page.log_in(ADMIN, ADMIN_PASSWORD)
    page.run(
        "const real = window.fetch;"
        "window.fetch = async (...request) => {"
        "  const answer = await real(...request);"
        "  if (!answer.url.includes('/api/dead-letters')) return answer;"
        "  const body = await answer.json();"
        "  body.data.reasons_of = 2;"
        "  return new Response(JSON.stringify(body), {headers: answer.headers});"
        "};"
    )

    go_to(page, "letters")

    page.wait_for("#letters-total", "3 dead letters")
    assert page.shown("#reasons-of") == "Reasons of the newest 2"
    page.visit(refusing.service)
    page.log_in(ADMIN, ADMIN_PASSWORD)
    go_to(page, "letters")
    page.wait_for("#letters-total", "3 dead letters")
    assert page.shown("#reasons-of") == ""


@contextmanager
def unread_numbers(page: LeadPage) -> Iterator[None]:
    """Let the next two readings of the status have no numbers of the queue, as on a machine that is too busy."""
    page.run("""
        window.honest = window.fetch;
        let left = 2;
        window.fetch = async (url, options) => {
          const answer = await window.honest(url, options);
          if (!left || !new URL(url).pathname.endsWith('/api/status')) return answer;
          left -= 1;
          const status = await answer.json();
          status.data.time = new Date().toISOString();
          for (const name of ['waiting', 'oldest_age_seconds', 'dead_letters']) status.data[name] = null;
          return new Response(JSON.stringify(status), {status: answer.status, headers: answer.headers});
        };
    """)
    try:
        yield
    finally:
        page.run("window.fetch = window.honest")


def test_nothing_is_said_to_be_stored_before_the_queue_was_read(page: LeadPage, refusing: Refusing):
    refusing.dead_letter(a_lead(firstName=REFUSED), a_lead(firstName=REFUSED))
    at_the_letters(page, refusing)
    page.wait_for("#letters-total", "2 dead letters")

    with unread_numbers(page):
        page.click("#replay-all")
        page.click("#replay-all-confirm")

        # They are refused again, and so it is said
        assert_result(page, "2 replayed: 0 stored, 2 dead again.")


def assert_result(page: LeadPage, text: str) -> None:
    """Wait until this is what the page says of a replay of all."""
    with suppress(AssertionError):
        until(lambda: page.shown("#replay-result") == text)
    assert page.shown("#replay-result") == text


def test_one_that_somebody_else_has_replayed_is_told_as_the_api_does(page: LeadPage, refusing: Refusing):
    refusing.dead_letter(a_lead(firstName=REFUSED))
    at_the_letters(page, refusing)
    (letter,) = refusing.letters()
    until(lambda: cards(page) == as_cards([letter]))
    refusing.refuse()
    assert refusing.replay(letter=letter["letter"]) == 1
    answer = refusing.service.post("/api/dead-letters/replay", {"letter": letter["letter"]}, refusing.token)
    refused = assert_error(answer, 404)

    replay(page, letter)

    until(lambda: refused["message"] in outcome(page, letter))
    assert_logged(refusing.service, page.shown(f"[data-letter='{letter['letter']}'] code"), 404)
    # It is no longer there to be replayed
    page.wait_for("#letters-total", "No dead letters")
    page.click("#letters-again")
    until(lambda: cards(page) == [])
