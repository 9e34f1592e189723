"""The files of the page for people: what they may do, how large they are, and what a browser asks for."""

import httpx
import pytest

from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage
from tests.kit.service import ROOT, Service

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

FILES = sorted(path.name for path in (ROOT / "ingest_api" / "page").iterdir())
SIZE_MAX = 100_000  # bytes, of all of them

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
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


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_nothing_from_elsewhere_and_is_not_sent_twice(seen: Service, name: str):
    answer = file(seen, name)

    assert answer.status_code == 200
    directives = (each.strip().partition(" ") for each in answer.headers["Content-Security-Policy"].split(";"))
    assert {directive: sources for directive, _, sources in directives} == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-cache" in answer.headers["Cache-Control"]
    again = file(seen, name, If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert file(seen, name, If_None_Match='"another"').status_code == 200


def test_the_page_is_small(seen: Service):
    sizes = {name: len(file(seen, name).content) for name in FILES}

    assert sum(sizes.values()) < SIZE_MAX, sizes


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
