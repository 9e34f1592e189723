"""The files of the page for people: who gets them, what they may do, how large they are."""

from collections.abc import Iterator

import httpx
import pytest

from tests.kit.leads import assert_error, assert_success
from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage
from tests.kit.service import ROOT, Service

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CLIENTS = ("*/*", "application/json", "application/json, */*;q=0.1", "")

FILES = sorted(path.name for path in (ROOT / "ingest_api" / "page").iterdir())
SIZE_MAX = 100_000  # bytes, of all of them

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def file(service: Service, name: str, **headers: str) -> httpx.Response:
    """Return the answer to a request for a file: the page itself for index.html."""
    path = "/" if name == "index.html" else f"/page/{name}"
    named = {each.replace("_", "-"): value for each, value in headers.items()}
    return httpx.get(f"{service.base_url}{path}", headers={"Accept": BROWSER, **named}, timeout=20)


@pytest.mark.parametrize("accept", CLIENTS)
def test_a_client_gets_the_links(seen: Service, accept: str):
    answer = httpx.get(f"{seen.base_url}/", headers={"Accept": accept}, timeout=20)

    data = assert_success(answer, 200)
    assert data.keys() == {"version", "links"}
    assert {httpx.get(f"{seen.base_url}{each}", timeout=20).status_code for each in data["links"].values()} <= {
        200,
        401,
        405,
    }


def test_a_browser_gets_the_page(seen: Service):
    answer = file(seen, "index.html")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_nothing_from_elsewhere_and_is_not_sent_twice(seen: Service, name: str):
    answer = file(seen, name)

    assert answer.status_code == 200
    directives = (each.strip().partition(" ") for each in answer.headers["Content-Security-Policy"].split(";"))
    assert {directive: sources for directive, _, sources in directives} == POLICY
    assert "no-cache" in answer.headers["Cache-Control"]
    again = file(seen, name, If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert file(seen, name, If_None_Match='"another"').status_code == 200


def test_the_page_is_small(seen: Service):
    sizes = {name: len(file(seen, name).content) for name in FILES}

    assert sum(sizes.values()) < SIZE_MAX, sizes


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e/app.py", "app.js/x", ""])
def test_what_is_no_file_of_the_page_is_not_found(seen: Service, name: str):
    assert_error(file(seen, name), 404)


def test_the_page_asks_its_own_service_alone_and_its_policy_stops_nothing(seen: Service, page: LeadPage):
    page.visit(seen)
    page.log_in(ADMIN, ADMIN_PASSWORD)
    for view in page.tabs():
        page.go(view)
    page.go("now")
    page.wait(lambda: page.number("#waiting") is not None)

    requests = page.requests()
    assert {each.split()[1][: len(seen.base_url) + 1] for each in requests} == {f"{seen.base_url}/"}
    loaded = {each.removeprefix(f"GET {seen.base_url}/page/") for each in requests if "/page/" in each}
    assert loaded == {*FILES} - {"index.html"}
    assert page.errors() == []


@pytest.fixture(scope="module")
def without_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose page is turned off."""
    with Service(tmp_path_factory.mktemp("without"), page=False) as service:
        yield service


def test_without_the_page_a_browser_gets_the_links_too(without_page: Service):
    data = assert_success(file(without_page, "index.html"), 200)

    assert data["links"]["docs"] == "/api/docs"
    for name in FILES:
        if name != "index.html":
            assert_error(file(without_page, name), 404)
