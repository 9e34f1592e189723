"""docs/clients.md: each of its examples works as it stands there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import program, until
from tests.kit.service import PASSWORD, ROOT, Service

from .pages import blocks, commands, write_csv

PAGE = "docs/clients.md"


def run(command: list[str], directory: Path, **environment: str) -> str:
    """Run a program to its end, which must be a good one, and return what it wrote."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def leads(tmp_path: Path) -> list[dict[str, str]]:
    """What is in leads.csv; its second is broken."""
    leads = [a_lead(), a_lead(email="nobody"), a_lead()]
    write_csv(tmp_path / "leads.csv", leads)
    return leads


def assert_stored(service: Service, leads: list[dict[str, str]]):
    service.wait_until_nothing_waits()
    for lead in (leads[0], leads[2]):
        assert service.page(email=lead["email"])["pagination"]["total"] == 1


def test_the_python_examples(embedded: Service, tmp_path: Path, leads: list[dict[str, str]]):
    # They expect the lead they send to be in the list already.
    embedded.wait_until_stored(*embedded.accept(a_lead(email="ada@example.com")))
    (tmp_path / "example.py").write_text("\n".join(blocks(PAGE, "python", embedded)))

    output = run([sys.executable, "example.py"], tmp_path)

    assert "queued" in output
    assert "phone ['This value should match pattern" in output
    assert "3 of 3, 1 rejected" in output
    assert "line 3: {'email': ['This value is not a valid email address']}" in output
    assert embedded.walk(email="ada@example.com")[0]["id"] in output
    assert_stored(embedded, leads)


def test_the_javascript_examples(embedded: Service, tmp_path: Path, leads: list[dict[str, str]]):
    embedded.wait_until_stored(*embedded.accept(a_lead(email="alan@example.com")))
    (tmp_path / "example.mjs").write_text("\n".join(blocks(PAGE, "javascript", embedded)))

    output = run([program("node"), "example.mjs"], tmp_path)

    assert "queued" in output
    assert "3 of 3, 1 rejected" in output
    assert embedded.walk(email="alan@example.com")[0]["id"] in output
    assert_stored(embedded, leads)


@pytest.fixture
def source(embedded: Service) -> tuple[str, str]:
    """A source that may send and read, and its API key, which all processes know."""
    name = f"client{time.time_ns()}"
    key = embedded.run("ingest_api", "source", "create", name, "--role", "ingest", "--role", "read").stdout.strip()
    until(lambda: all(embedded.get("/api/leads", key).status_code == 200 for _ in range(10)), 15, 0.1)
    return name, key


def test_the_curl_examples(embedded: Service, tmp_path: Path, source: tuple[str, str]):
    name, key = source
    (tmp_path / "example.sh").write_text("set -eu\n" + "\n".join(blocks(PAGE, "bash", embedded)))

    output = run(["bash", "example.sh"], tmp_path, LEADS_API_KEY=key)

    assert '"state":"queued"' in output
    assert '"accepted":1,"rejected":1' in output
    assert all(f'"id":"{lead["id"]}"' in output for lead in embedded.walk()[-3:])
    # The source's lead and its statistics; the lead may not be in its list yet
    assert output.count(f'"source":"{name}"') >= 2
    assert '"interval":"day"' in output


def test_the_import_example(embedded: Service, tmp_path: Path, leads: list[dict[str, str]]):
    command, _ = commands(PAGE, embedded)
    words = [
        {".venv/bin/python": sys.executable, "leads.csv": str(tmp_path / "leads.csv")}.get(each, each)
        for each in command.split()
    ]

    output = run([*words, "--url", embedded.base_url], ROOT, LEADS_PASSWORD=PASSWORD)

    assert "2 rows accepted, 1 rejected" in output
    assert json.loads((tmp_path / "leads.csv.import.json").read_text())["done"] is True
    assert_stored(embedded, leads)


def test_the_import_example_of_a_source(
    embedded: Service, tmp_path: Path, leads: list[dict[str, str]], source: tuple[str, str]
):
    name, key = source
    write_csv(tmp_path / "partner.csv", leads)
    _, command = commands(PAGE, embedded)
    instead = {".venv/bin/python": sys.executable, "partner.csv": str(tmp_path / "partner.csv"), "acme": name}
    words = [instead.get(each, each) for each in command.split()]

    output = run([*words, "--url", embedded.base_url], ROOT, LEADS_API_KEY=key)

    assert "2 rows accepted, 1 rejected" in output
    assert_stored(embedded, leads)
    assert embedded.page(source=name)["pagination"]["total"] == 2
