"""`python -m ingest_api import`: each good row once, each bad row in the rejects, however often it is stopped."""

import csv
import json
import signal
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.servers import until
from tests.kit.service import ROOT, Service

from .import_command import command, environment, run, written


def assert_imported(service: Service, file: Path, phone: str, good: set[str], bad: set[int]):
    """Check that each good row is stored once and each bad one is in the rejects once."""
    service.wait_until_nothing_waits(60)
    stored = Counter(lead["email"] for lead in service.walk(phone=phone))
    assert stored == Counter(good)
    with file.with_name(f"{file.stem}.rejects.csv").open() as rejects:
        rows = list(csv.DictReader(rejects))
    assert [int(row["_line"]) for row in rows] == sorted(bad)
    assert {row["_errors"] for row in rows} == {"email: This value is not a valid email address"}
    assert {row["email"] for row in rows} == {"nobody"}


def test_good_rows_are_stored_and_bad_rows_rejected_with_their_reasons(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.csv"
    good, bad = written(file, 450, "+49301000001")

    done = run(embedded, file, "--batch", "100")

    assert done.returncode == 0, done.stderr
    assert f"{len(good)} rows accepted, {len(bad)} rejected" in done.stdout
    assert_imported(embedded, file, "+49301000001", good, bad)
    assert embedded.page(phone="+49301000001", limit=1)["items"][0]["additionalData"]["source"].startswith("s")

    again = run(embedded, file)

    assert again.returncode == 0
    assert "imported already" in again.stdout
    assert_imported(embedded, file, "+49301000001", good, bad)


@pytest.mark.slow
def test_an_import_that_is_killed_and_interrupted_goes_on_where_it_was(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.csv"
    state = tmp_path / "leads.csv.import.json"
    good, bad = written(file, 6000, "+49301000002")

    # When it is stopped again and again, wherever it is
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        before = json.loads(state.read_bytes())["offset"] if state.exists() else 0
        process = subprocess.Popen(
            command(embedded, file, "--batch", "60"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        until(
            lambda before=before, process=process: (
                process.poll() is not None or (state.exists() and json.loads(state.read_bytes())["offset"] > before)
            ),
            30,
            0.001,
        )
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == (130 if number in (signal.SIGINT, signal.SIGTERM) else -number)
        assert number == signal.SIGKILL or b"Stopped at line" in output

    # And then runs to its end
    done = run(embedded, file)

    # Then nothing is lost and nothing doubled
    assert done.returncode == 0, done.stderr
    assert f"{len(good)} rows accepted, {len(bad)} rejected" in done.stdout
    assert_imported(embedded, file, "+49301000002", good, bad)


class CuttingProxy:
    """Forwards requests, and loses every second answer to a bulk request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lost = 0
        self._seen = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            reading, answers = client.makefile("rb"), server.makefile("rb")
            while head := _head(reading):
                server.sendall(head + reading.read(_length(head)))
                answer = _head(answers)
                answer += answers.read(_length(answer))
                if b"/bulk" in head:
                    self._seen += 1
                    if self._seen % 2:
                        self.lost += 1
                        return
                client.sendall(answer)

    def close(self) -> None:
        self._listener.close()


def _head(stream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)


def test_an_answer_that_is_lost_does_not_store_rows_twice(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.csv"
    good, bad = written(file, 250, "+49301000003")
    proxy = CuttingProxy(embedded.port)

    done = run(embedded, file, "--batch", "60", url=proxy.url)
    proxy.close()

    assert done.returncode == 0, done.stderr
    assert proxy.lost == 5
    assert_imported(embedded, file, "+49301000003", good, bad)


def test_a_file_that_has_changed_is_not_gone_on_with(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.csv"
    written(file, 3, "+49301000005")
    run(embedded, file)
    file.write_text(file.read_text().replace("Ada", "Eve"))

    done = run(embedded, file)

    assert done.returncode == 1
    assert "has changed since" in done.stderr


def test_a_wrong_password_and_a_service_that_is_away_are_told(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.csv"
    written(file, 3, "+49301000006")

    away = run(embedded, file, "--retry-for", "1", url="http://127.0.0.1:1")
    wrong = subprocess.run(
        command(embedded, file), cwd=ROOT, input="wrong\n", capture_output=True, text=True, timeout=60, check=False
    )

    assert (away.returncode, wrong.returncode) == (1, 1)
    assert "No answer for 1 seconds (the last: nobody listens)" in away.stderr
    assert "Invalid credentials" in wrong.stderr
