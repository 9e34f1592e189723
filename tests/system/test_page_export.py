"""Exports of the page in a browser: the API's files, and none where one would not be whole."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.leads import assert_error
from tests.kit.page import LeadPage, downloads, slow_downloads
from tests.kit.servers import until
from tests.kit.service import Service

from .lead_list import READER, SENDER, SHARED_EMAIL, SOURCE, a_person, assert_logged, assert_shows, fill, find
from .test_export_slow import ask
from .test_tokens import claims, signed

BULKY = "bulky@example.com"
BULKY_LEADS = 1200  # of 15 kB: more than all buffers between the service and the page hold
FILLING = "x" * 15_000


def exported(service: Service, **parameters: Any) -> bytes:
    """Return the API's export; the user's former one may just be ending."""

    def answer() -> httpx.Response | None:
        found = service.get("/api/leads/export", params=parameters)
        return None if found.status_code == 429 else found

    found = until(answer, 30, 0.05)
    assert found is not None
    assert found.status_code == 200, found.text
    return found.content


def saved(directory: Path) -> Path:
    """Wait for the one file of a directory to be whole, and return it."""

    def whole() -> list[Path]:
        found = list(directory.iterdir())
        return [each for each in found if len(found) == 1 and each.suffix in (".csv", ".ndjson")]

    return until(whole)[0]


def answers(service: Service) -> bool:
    """Tell whether the API answers (again)."""
    try:
        return httpx.get(f"{service.base_url}/health/ready", timeout=20).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_an_export_has_what_is_filtered(leads: LeadPage, listed: Service, tmp_path: Path, kind: str):
    with downloads(leads, tmp_path):
        # Of a filter, in the order of the list
        fill(leads, source=SOURCE, duplicates="exclude")
        assert_shows(leads, listed, source=SOURCE, duplicates="exclude")
        leads.click(f"#export-{kind}")
        leads.wait_for("#export-text", "exported")
        file = saved(tmp_path)
        assert file.suffix == f".{kind}"
        expected = exported(listed, format=kind, source=SOURCE, duplicates="exclude", sortOrder="DESC")
        assert file.read_bytes() == expected
        assert 0 < expected.count(b"\n") < listed.page()["pagination"]["total"]
        file.unlink()

        # And of a person, whose address does not come into the name of the file
        find(leads, SHARED_EMAIL)
        assert_shows(leads, listed, email=SHARED_EMAIL)
        leads.click(f"#export-{kind}")
        file = saved(tmp_path)
        assert file.read_bytes() == exported(listed, format=kind, email=SHARED_EMAIL, sortOrder="DESC")
        assert "shared" not in file.name.lower()


@pytest.fixture(scope="module")
def bulky(listed: Service) -> Service:
    """The service with leads whose export is long."""
    for start in range(0, BULKY_LEADS, 400):
        leads = [a_person(1000 + start + at, email=BULKY, additionalData={"filling": FILLING}) for at in range(400)]
        listed.accept(*leads)
    listed.wait_until_nothing_waits()
    return listed


def test_an_export_that_has_to_wait_for_others_is_told_so(leads: LeadPage, bulky: Service, tmp_path: Path):
    fill(leads, source=SOURCE)
    assert_shows(leads, bulky, source=SOURCE)
    with downloads(leads, tmp_path):
        # Given as many exports of others as the service sends at once
        tokens = [signed(bulky, claims(sub=user, roles=["export"])) for user in (SENDER, READER)]
        with ask(bulky, tokens[0]) as one, ask(bulky, tokens[1]) as two:
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
            assert two.recv(1000).startswith(b"HTTP/1.1 200")
            refused = assert_error(bulky.get("/api/leads/export"), 503)

            # When one is wanted, then the API's word is shown
            leads.click("#export-csv")
            leads.wait_for("#export-problem", refused["message"])
            assert_logged(bulky, leads.shown("#export-problem code"), 503)
            assert leads.shown("#export-text") == "There is no file."
            assert list(tmp_path.iterdir()) == []

        # And it is sent when they are over
        until(lambda: bulky.get("/api/leads/export", params={"source": "nobody"}).status_code == 200)
        leads.click("#export-csv")
        file = saved(tmp_path)
        assert leads.shown("#export-problem") == ""
        assert file.read_bytes() == exported(bulky, source=SOURCE, sortOrder="DESC")


def test_a_long_export_is_one_whole_file(leads: LeadPage, bulky: Service, tmp_path: Path):
    find(leads, BULKY)
    assert_shows(leads, bulky, email=BULKY)
    with downloads(leads, tmp_path):
        leads.click("#export-ndjson")
        leads.wait_for("#export-text", "exported")

        assert saved(tmp_path).read_bytes() == exported(bulky, format="ndjson", email=BULKY, sortOrder="DESC")


def test_an_export_that_is_cancelled_leaves_no_file(leads: LeadPage, bulky: Service, tmp_path: Path):
    with downloads(leads, tmp_path), slow_downloads(leads, 200_000):
        leads.click("#export-csv")
        leads.wait_for("#export-progress", "received")
        leads.click("#export-cancel")
        leads.wait_for("#export-text", "cancelled")

        assert list(tmp_path.iterdir()) == []
    # Nothing of it goes on at the API
    assert exported(bulky, source="nobody")


def test_an_export_that_breaks_off_is_told_and_leaves_no_file(leads: LeadPage, bulky: Service, tmp_path: Path):
    with downloads(leads, tmp_path), slow_downloads(leads, 500_000):
        leads.click("#export-csv")
        leads.wait_for("#export-progress", "received")

        # When the processes that send it are killed
        api = bulky.one("api")
        for each in (api, *api.children(recursive=True)):
            each.kill()

        # Then the page says so, and there is no file that somebody could take for the whole
        leads.wait_for("#export-text", "There is no file.")
        assert "broke" in leads.shown("#export-text")
        assert list(tmp_path.iterdir()) == []
    # And it can be had when the API is back
    until(lambda: answers(bulky))
    fill(leads, source=SOURCE)
    assert_shows(leads, bulky, source=SOURCE)
    with downloads(leads, tmp_path):
        leads.click("#export-csv")
        assert saved(tmp_path).read_bytes() == exported(bulky, source=SOURCE, sortOrder="DESC")
