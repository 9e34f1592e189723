"""docs/clients.md: each of its examples works as it stands there."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import program, until
from tests.kit.service import EMAIL, PASSWORD, ROOT, Service

from .pages import blocks, commands, write_csv

PAGE = "docs/clients.md"

# The address of Svix on the page.
SVIX = "http://127.0.0.1:8071"


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


class Webhooks(BaseHTTPRequestHandler):
    """Takes messages in the form of Svix's API, and refuses an eventId that it has."""

    received: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fine = (self.path, self.headers["Authorization"]) == ("/api/v1/app/crm/msg/", "Bearer testsk_1")
        fine = fine and message.keys() == {"eventType", "eventId", "payload"}
        is_known = message["eventId"] in self.received
        self.received[message["eventId"]] = message["payload"]
        self.send_response((409 if is_known else 202) if fine else 422)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def webhooks() -> Iterator[str]:
    """The address of a receiver of webhooks."""
    Webhooks.received.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhooks) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_python_examples(embedded: Service, tmp_path: Path, leads: list[dict[str, str]], webhooks: str):
    # They expect the lead they send to be in the list already.
    embedded.wait_until_stored(*embedded.accept(a_lead(email="ada@example.com")))
    program = "\n".join(blocks(PAGE, "python", embedded)).replace(SVIX, webhooks)
    (tmp_path / "example.py").write_text(program)
    # It goes on from here, and not from all that other tests have stored.
    cursor = embedded.get("/api/leads/changes", params={"after": "latest"}).json()["data"]["next_cursor"]
    (tmp_path / "changes.cursor").write_text(cursor)
    new = embedded.accept(a_lead(), a_lead(), a_lead())
    embedded.wait_until_stored(*new)

    output = run([sys.executable, "example.py"], tmp_path, SVIX_TOKEN="testsk_1")

    assert "queued" in output
    assert "phone ['This value should match pattern" in output
    assert "3 of 3, 1 rejected" in output
    assert "line 3: {'email': ['This value is not a valid email address']}" in output
    assert embedded.walk(email="ada@example.com")[0]["id"] in output
    assert_stored(embedded, leads)
    assert {each: embedded.lead(each) for each in new}.items() <= Webhooks.received.items()
    # From a cursor of before it goes on, too: the receiver refuses what it has.
    known = dict(Webhooks.received)
    (tmp_path / "changes.cursor").write_text(cursor)
    run([sys.executable, "example.py"], tmp_path, SVIX_TOKEN="testsk_1")
    assert known.items() <= Webhooks.received.items()


@pytest.mark.skipif(shutil.which("bento") is None, reason="bento is not on PATH")
def test_the_stream_processor_example(embedded: Service, tmp_path: Path):
    # Given leads, and its cursor before them
    after = embedded.get("/api/leads/changes", params={"after": "latest"}).json()["data"]["next_cursor"]
    (tmp_path / "cursor").mkdir()
    (tmp_path / "cursor" / "leads").write_text(after)
    (page,) = blocks(PAGE, "yaml", embedded)
    (tmp_path / "follow.yaml").write_text(page)
    expected: list[str] = []

    # When it is started, killed and started again while leads are stored
    for _ in range(3):
        command = ["bento", "-c", "follow.yaml"]
        environment = {**os.environ, "LEADS_EMAIL": EMAIL, "LEADS_PASSWORD": PASSWORD}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        new = embedded.accept(*(a_lead() for _ in range(5)))
        until(lambda new=new: set(new) <= set(in_file(tmp_path / "leads.ndjson")), 40, 0.2)
        expected += new
        process.kill()
        process.wait()

    # Then each lead is in the file
    assert set(in_file(tmp_path / "leads.ndjson")) >= set(expected)


def in_file(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["id"] for line in lines]


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
    until(lambda: embedded.statuses("GET", "/api/leads", key) == {200}, 15, 0.1)
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
