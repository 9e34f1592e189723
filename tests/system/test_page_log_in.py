"""The log-in of the page: who gets in, what is shown to whom, and where the token is."""

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage
from tests.kit.service import EMAIL, PASSWORD, Service

GUEST_PASSWORD = "just as long as it must be"

_numbers = itertools.count(1)

# What a browser keeps, and what others can read of the page.
KEPT = """
    return [
        ...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie, location.href,
        JSON.stringify(history.state), ...performance.getEntries().map((each) => each.name), ...Object.keys(window),
        document.documentElement.outerHTML,
    ].join("\\n")
"""


@pytest.fixture
def guest(seen: Service, request: pytest.FixtureRequest) -> str:
    """The address of a user of this test's own, with the roles of its parameter: by default `read` alone."""
    email = f"guest{next(_numbers)}@example.com"
    roles = [word for role in getattr(request, "param", ("read",)) for word in ("--role", role)]
    done = seen.user("create", email, *roles, password=GUEST_PASSWORD)
    assert done.returncode == 0, done.stderr
    return email


def asked(page: LeadPage) -> set[str]:
    """Return the API's paths that were asked since the last call, each with its method."""
    requests = (each.partition("?")[0].split() for each in page.requests())
    return {f"{method} /api/{url.partition('/api/')[2]}" for method, url in requests if "/api/" in url}


def test_the_user_of_the_banner_gets_in_and_out(seen: Service, page: LeadPage):
    page.visit(seen)
    assert page.tabs() == []
    assert asked(page) == set()

    page.log_in()

    assert page.shown("#user") == EMAIL
    assert page.tabs() == ["now", "leads", "try"]
    page.wait(lambda: page.shown("#heading") == "Now")
    assert page.errors() == []

    page.click("#logout")

    page.find("#login-email")
    assert page.tabs() == []
    assert not page.is_there("#user")
    assert page.attribute("#login-password", "value") is None
    asked(page)
    page.run("location.hash = '#leads'")
    page.wait(lambda: page.shown("#heading") == "Log in")
    assert asked(page) == set()


def test_the_token_is_in_the_memory_of_the_page_alone(seen: Service, page: LeadPage):
    page.visit(seen)
    page.log_in()
    for view in page.tabs():
        page.go(view)

    kept = page.run(KEPT)
    sent = [entry["message"] for entry in page.driver.get_log("performance")]
    tokens = {
        json.loads(each)["message"]["params"]["request"]["headers"].get("Authorization", "").removeprefix("Bearer ")
        for each in sent
        if '"Network.requestWillBeSent"' in each
    } - {""}

    assert len(tokens) == 1
    token = tokens.pop()
    # Neither the token nor a part of it
    assert token.count(".") == 2
    assert not any(part in kept for part in token.split("."))
    assert PASSWORD not in kept
    assert page.run("return localStorage.length + sessionStorage.length") == 0
    assert page.driver.get_cookies() == []

    # A reload forgets it
    page.driver.refresh()
    page.find("#login-email")
    assert page.tabs() == []


def test_a_wrong_password_is_answered_as_the_api_says_it_with_the_request_id(seen: Service, page: LeadPage):
    page.visit(seen)
    page.run("const real = fetch; window.fetch = (...all) => real(...all).then((answer) => (window.last = answer))")

    page.try_to_log_in(password="wrong")

    page.wait_for("#login-message", "Invalid credentials")
    assert page.attribute("#login-message [role]", "role") == "alert"
    assert page.run("return last.headers.get('X-Request-Id')") in page.shown("#login-message")
    # The address stays, and the next try may follow at once
    page.write("#login-password", PASSWORD)
    page.click("#login-submit")
    page.find("#logout")


def test_a_field_that_is_missing_is_named_beside_it(seen: Service, page: LeadPage):
    page.visit(seen)

    page.try_to_log_in(email="", password="x")

    page.wait(lambda: page.shown("#login-email-error") != "")
    assert page.attribute("#login-email", "aria-invalid") == "true"
    assert "login-email-error" in (page.attribute("#login-email", "aria-describedby") or "")


@pytest.mark.parametrize("guest", [("read",)], indirect=True)
def test_what_a_role_may_not_see_is_neither_shown_nor_asked(seen: Service, page: LeadPage, guest: str):
    page.visit(seen, "letters")
    page.log_in(guest, GUEST_PASSWORD)

    assert page.tabs() == ["now", "leads"]
    for view in ("letters", "try", "now", "leads"):
        page.run("location.hash = arguments[0]", f"#{view}")
        page.wait(lambda view=view: page.shown("#heading") == ("Leads" if view == "leads" else "Now"))
    page.wait(lambda: page.shown("#leads-total") != "")

    assert (
        page.run("return [...document.querySelectorAll('button')].filter(b => /export/i.test(b.textContent)).length")
        == 0
    )
    assert asked(page) == {"POST /api/login_check", "GET /api/status", "GET /api/leads/stats", "GET /api/leads"}
    assert page.errors() == []


@pytest.mark.parametrize("guest", [("ingest",)], indirect=True)
def test_a_user_who_may_see_nothing_is_told_so(seen: Service, page: LeadPage, guest: str):
    page.visit(seen)
    page.log_in(guest, GUEST_PASSWORD)

    page.wait_for("#main", "ingest")
    assert page.tabs() == []
    assert page.shown("#heading") == "Nothing to see"
    assert asked(page) == {"POST /api/login_check"}


def test_an_administrator_sees_every_view(seen: Service, page: LeadPage):
    page.visit(seen)
    page.log_in(ADMIN, ADMIN_PASSWORD)

    assert page.tabs() == ["now", "leads", "letters", "try"]


def test_a_user_who_is_shut_out_is_led_back_with_what_the_api_says(seen: Service, page: LeadPage, guest: str):
    page.visit(seen, "leads")
    page.log_in(guest, GUEST_PASSWORD)
    page.wait(lambda: page.shown("#leads-total") != "")

    assert seen.user("disable", guest).returncode == 0
    # It takes seconds until each process knows
    refresh = "document.querySelector('#leads-again')?.click()"
    page.wait(lambda: page.run(refresh) or page.is_there("#login-email"))

    assert "Invalid JWT Token" in page.shown("#login-message")
    assert page.tabs() == []

    # The view is the same after the next log-in
    page.log_in()
    assert page.shown("#heading") == "Leads"


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose tokens end after some seconds."""
    with Service(tmp_path_factory.mktemp("short"), token_ttl=5) as service:
        yield service


def test_when_the_token_has_ended_there_is_a_log_in_with_the_reason(short: Service, page: LeadPage):
    page.visit(short)
    page.log_in()
    page.go("try")

    page.find("#login-email")

    assert "log in again" in page.shown("#login-message")
    assert page.tabs() == []
    page.log_in()
    assert page.shown("#heading") == "Try it"
