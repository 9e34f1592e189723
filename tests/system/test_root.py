"""GET /: the page for browsers, the links for everybody else."""

from collections.abc import Iterator

import pytest

from tests.kit.leads import assert_error, assert_success
from tests.kit.service import Service

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@pytest.fixture(scope="module")
def without_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("without"), page="false") as service:
        yield service


def test_a_client_finds_every_link_in_the_answer(embedded: Service):
    found = assert_success(embedded.get("/", token=None), 200)

    assert found["links"]["leads"] == "/api/leads"
    for link in found["links"].values():
        assert embedded.get(link).status_code in (200, 405), link


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", "text/csv"])
def test_who_does_not_prefer_html_gets_json(embedded: Service, accept: str):
    answer = embedded.get("/", token=None, headers={"Accept": accept})

    assert_success(answer, 200)
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("accept", [BROWSER["Accept"], "text/html", "application/json;q=0.5, text/html"])
def test_a_browser_gets_the_page(embedded: Service, accept: str):
    answer = embedded.get("/", token=None, headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert answer.text.startswith("<!doctype html>")


def test_it_counts_against_no_limit(strict: Service):
    answers = [strict.client.get("/", headers=BROWSER) for _ in range(30)]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["X-RateLimit-Remaining"] for answer in answers} == {"20"}


def test_a_file_that_the_browser_has_is_not_sent_again(embedded: Service):
    first = embedded.get("/page/index.html", token=None)
    again = embedded.get("/page/index.html", token=None, headers={"If-None-Match": first.headers["ETag"]})
    other = embedded.get("/page/index.html", token=None, headers={"If-None-Match": '"another"'})

    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.content == b""
    assert first.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["x.js", "..%2fapp.py", "%2e%2e/app.py", "", "page.css/"])
def test_nothing_but_its_files_is_there(embedded: Service, name: str):
    assert_error(embedded.get(f"/page/{name}", token=None), 404)


def test_without_a_page_all_get_the_links(without_page: Service):
    assert_success(without_page.get("/", token=None, headers=BROWSER), 200)
    assert_error(without_page.get("/page/index.html", token=None), 404)
