"""`python -m ingest_api import`: each good row once, each bad row in the rejects, however often it is stopped."""

import csv
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import EMAIL, PASSWORD, ROOT, Service

# Longest time (seconds) until every process knows a source.
KNOWN_DEADLINE = 30.0

HEADER = ["firstName", "lastName", "email", "phone", "dateOfBirth", "source"]


def command(service: Service, file: Path, *options: str, url: str = "") -> list[str]:
    python = [sys.executable, "-m", "ingest_api", "import", str(file)]
    return [*python, "--url", url or service.base_url, "--email", EMAIL, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "LEADS_PASSWORD": PASSWORD}


def run(service: Service, file: Path, *options: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Import a file to the end."""
    return subprocess.run(
        command(service, file, *options, url=url),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def written(path: Path, rows: int, phone: str) -> tuple[set[str], set[int]]:
    """Write a CSV in which every hundredth row is bad; return the good rows' addresses and the bad ones' lines."""
    good, bad = set(), set()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            email = a_lead()["email"]
            broken = number % 100 == 50
            writer.writerow(["Ada", "Lovelace", "nobody" if broken else email, phone, "1990-12-10", f"s{number}"])
            if broken:
                bad.add(number + 2)
            else:
                good.add(email)
    return good, bad


def test_a_column_consent_holds_a_proof_or_goes_into_additional_data(embedded: Service, tmp_path: Path):
    # Given a file with a consent, with a word in its place, with nothing, and with a broken one
    proof = {"url": "https://cert.trustedform.com/0123456789abcdef"}
    leads = [a_lead() for _ in range(4)]
    file = tmp_path / "consent.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*leads[0], "Consent"])
        writer.writeheader()
        for lead, consent in zip(leads, (json.dumps(proof), "yes", "", '{"url": "http://x"}'), strict=True):
            writer.writerow({**lead, "Consent": consent})

    done = run(embedded, file)

    # Then the first lead has it, the second one's word is kept beside, and the last one is rejected by its path
    assert done.returncode == 0, done.stderr
    embedded.wait_until_nothing_waits()
    found = [embedded.page(email=lead["email"])["items"] for lead in leads]
    assert (found[0][0]["consent"], found[0][0]["additionalData"]) == (proof, None)
    assert ("consent" in found[1][0], found[1][0]["additionalData"]) == (False, {"Consent": "yes"})
    assert ("consent" in found[2][0], found[2][0]["additionalData"]) == (False, None)
    assert found[3] == []
    with file.with_name("consent.rejects.csv").open() as rejects:
        (row,) = csv.DictReader(rejects)
    assert row["_errors"] == "consent.url: This value should be a URL that begins with https://."


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


def test_every_bad_row_has_its_reasons_however_many_there_are_in_a_request(embedded: Service, tmp_path: Path):
    file = tmp_path / "bad.ndjson"
    broken = [a_lead(email="nobody"), a_lead(phone="x"), a_lead(additionalData={"n": 2**70}), 5]
    file.write_text("".join(json.dumps(each) + "\n" for each in [a_lead(), *broken * 60]))

    done = run(embedded, file)

    assert done.returncode == 0, done.stderr
    rejects = [json.loads(line) for line in (tmp_path / "bad.rejects.ndjson").read_text().splitlines()]
    assert [[*each["errors"]] for each in rejects] == [["email"], ["phone"], ["additionalData"], ["body"]] * 60
    assert len({str(each["errors"]) for each in rejects}) == 4


def test_an_integer_that_json_in_a_csv_cannot_carry_is_a_reject(embedded: Service, tmp_path: Path):
    file = tmp_path / "wide.csv"
    lead = a_lead()
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*lead, "additionalData"])
        writer.writeheader()
        writer.writerow({**lead, "additionalData": json.dumps({"n": 2**64 - 1})})
        writer.writerow({**lead, "additionalData": json.dumps({"n": 2**64})})

    done = run(embedded, file)

    assert done.returncode == 0, done.stderr
    (reject,) = csv.DictReader((tmp_path / "wide.rejects.csv").read_text().splitlines())
    assert reject["_errors"] == "additionalData: Integers in this value should fit into 64 bits."


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


def test_ndjson_and_its_rejects(embedded: Service, tmp_path: Path):
    file = tmp_path / "leads.ndjson"
    leads = [a_lead(phone="+49301000004") for _ in range(3)]
    lines = [
        json.dumps(leads[0]),
        "{",
        "",
        json.dumps(leads[1] | {"firstName": ""}),
        json.dumps(leads[2]),
        "[]",
        '"\udcff"',
    ]
    file.write_text("\n".join(lines), errors="surrogateescape")

    done = run(embedded, file)

    assert done.returncode == 0, done.stderr
    rejects = [json.loads(line) for line in (tmp_path / "leads.rejects.ndjson").read_text().splitlines()]
    assert [row["line"] for row in rejects] == [2, 4, 6, 7]
    assert [list(row["errors"]) for row in rejects] == [["body"], ["firstName"], ["body"], ["row"]]
    assert rejects[1]["lead"] == leads[1] | {"firstName": ""}
    embedded.wait_until_nothing_waits()
    assert {lead["email"] for lead in embedded.walk(phone="+49301000004")} == {leads[0]["email"], leads[2]["email"]}


def test_a_file_without_a_good_row(embedded: Service, tmp_path: Path):
    file = tmp_path / "bad.csv"
    file.write_text("first_name;Last Name;EMAIL;phone;date-of-birth\n;;;;\nx;y;z;1;2\n")

    done = run(embedded, file)

    assert done.returncode == 0, done.stderr
    assert "0 rows accepted, 2 rejected" in done.stdout


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"Bob,Smith,b@example.com,+4930,1990-01-01', "no CSV"),
        ("Bob,Smith,b@example.com,+4930,1990-01-01,more", "has 6 columns, the header has 5"),
        ("Bob", "has 1 columns"),
        ('"Bob"x,Smith,b@example.com,+4930,1990-01-01', "no CSV"),
        ("B\udcffb,Smith,b@example.com,+4930,1990-01-01", "not in UTF-8"),
        pytest.param("B" * (1 << 20) + ",Smith,b@example.com,+4930,1990-01-01", "longer than", id="a long row"),
    ],
)
def test_a_row_that_is_no_csv_harms_no_other(embedded: Service, tmp_path: Path, row: str, reason: str):
    good = [a_lead() for _ in range(2)]
    lines = [",".join(lead.values()) for lead in good]
    file = tmp_path / "leads.csv"
    text = "\n".join([",".join(good[0]), lines[0], row, lines[1], ""])
    file.write_bytes(text.encode(errors="surrogateescape"))

    done = run(embedded, file)

    assert "2 rows accepted, 1 rejected" in done.stdout, done.stdout + done.stderr
    assert reason in (tmp_path / "leads.rejects.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line should be the header"),
        ("email,phone\n", "no column firstName, lastName, dateOfBirth"),
        ("firstName,first_name,lastName,email,phone,dateOfBirth\n", "more than once: firstName"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_before_anything_is_sent(
    embedded: Service, tmp_path: Path, text: str, message: str
):
    file = tmp_path / "leads.csv"
    file.write_text(text)

    done = run(embedded, file)

    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == [file]


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


_numbers = itertools.count(1)


def source(service: Service, *options: str) -> tuple[str, str]:
    """Make a source that every process knows; return its name and its API key."""
    name = f"importer{next(_numbers)}-{time.time_ns()}"
    done = service.run("ingest_api", "source", "create", name, *options)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    # A body that is no lead is a 400 then.
    until(lambda: service.statuses("POST", "/api/leads", key, {}) == {400}, KNOWN_DEADLINE, 0.1)
    return name, key


def send_as(
    service: Service, name: str, key: str | None, file: Path, *options: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Import a file as a source, with its key in the environment, or `given` on standard input."""
    python = [sys.executable, "-m", "ingest_api", "import", str(file), "--url", service.base_url, "--source", name]
    return subprocess.run(
        [*python, *options],
        cwd=ROOT,
        env={**os.environ, **({} if key is None else {"LEADS_API_KEY": key})},
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *said: str):
    """Check that an import ended with status 1 and one line that says so, after what the progress bar wrote."""
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for each in said:
        assert each in errors[0]


def test_a_file_is_sent_as_a_source(embedded: Service, tmp_path: Path):
    # Given a source, and its key on standard input or in the environment
    name, key = source(embedded)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    good, bad = written(first, 150, "+49301000011")
    more, _ = written(second, 3, "+49301000011")

    # When it sends a file each way
    by_input = send_as(embedded, name, None, first, given=f"{key}\n")
    by_environment = send_as(embedded, name, key, second)

    # Then the leads are the source's
    assert (by_input.returncode, by_environment.returncode) == (0, 0), by_input.stderr + by_environment.stderr
    assert f"{len(good)} rows accepted, {len(bad)} rejected" in by_input.stdout
    embedded.wait_until_nothing_waits()
    assert {lead["email"] for lead in embedded.walk(source=name)} == good | more
    # And the key is nowhere
    journal = tmp_path / "first.csv.import.json"
    assert json.loads(journal.read_bytes())["sender"] == f"source:{name}"
    assert key not in by_input.stdout + by_input.stderr + journal.read_text()


def test_nobody_goes_on_with_the_import_of_another(embedded: Service, tmp_path: Path):
    # Given an import of a source, and rows that came to the file since
    name, key = source(embedded)
    file = tmp_path / "leads.csv"
    written(file, 3, "+49301000012")
    assert send_as(embedded, name, key, file).returncode == 0
    with file.open("a") as out:
        out.write(f"Ada,Lovelace,{a_lead()['email']},+49301000012,1990-12-10,late\n")

    # Then neither a user nor another source goes on with it
    other, key_of_other = source(embedded)
    sent_by = f"was sent by source:{name} before: --again sends all of it by"
    assert_one_line(run(embedded, file), f"{sent_by} {EMAIL}")
    assert_one_line(send_as(embedded, other, key_of_other, file), f"{sent_by} source:{other}")

    # And the source does, with another key of its own too
    rotated = embedded.run("ingest_api", "source", "rotate", name, "--grace", "0").stdout.strip()
    until(lambda: embedded.statuses("POST", "/api/leads", rotated, {}) == {400}, KNOWN_DEADLINE)
    done = send_as(embedded, name, rotated, file)
    assert done.returncode == 0, done.stderr
    assert "4 rows accepted, 0 rejected" in done.stdout


def test_a_journal_that_names_no_sender_is_gone_on_with(embedded: Service, tmp_path: Path):
    # Given a journal of release 0.1
    file, journal = tmp_path / "leads.csv", tmp_path / "leads.csv.import.json"
    written(file, 2, "+49301000013")
    assert run(embedded, file).returncode == 0
    journal.write_text(json.dumps({k: v for k, v in json.loads(journal.read_bytes()).items() if k != "sender"}))
    with file.open("a") as out:
        out.write(f"Ada,Lovelace,{a_lead()['email']},+49301000013,1990-12-10,late\n")

    done = run(embedded, file)

    assert done.returncode == 0, done.stderr
    assert "3 rows accepted, 0 rejected" in done.stdout


def test_a_key_that_is_not_good_ends_an_import_with_one_line(embedded: Service, tmp_path: Path):
    name, key = source(embedded)
    reader, key_of_reader = source_that_reads(embedded)
    file = tmp_path / "leads.csv"
    written(file, 3, "+49301000014")
    shape = "This is no API key: one begins with lead_."

    assert_one_line(send_as(embedded, name, key[:-1] + "~", file), "The API answered 403: Invalid API key")
    assert_one_line(send_as(embedded, name, "", file), shape)
    assert_one_line(send_as(embedded, name, "lead_a\nb", file), shape)
    assert_one_line(send_as(embedded, name, None, file, given="password123\n"), shape)
    assert_one_line(send_as(embedded, "No Source", key, file), "A source's name should match")
    assert_one_line(send_as(embedded, name, key, file, "--email", EMAIL), "Give --email or --source, not both.")
    assert_one_line(
        send_as(embedded, reader, key_of_reader, file, "--again"), "The API answered 403: This API key may not do that."
    )
    # And with the right one the same command goes through
    assert send_as(embedded, name, key, file, "--again").returncode == 0


def source_that_reads(service: Service) -> tuple[str, str]:
    """Make a source that may not send."""
    name = f"reader{time.time_ns()}"
    key = service.run("ingest_api", "source", "create", name, "--role", "read").stdout.strip()
    until(lambda: service.statuses("GET", "/api/leads", key) == {200}, KNOWN_DEADLINE, 0.1)
    return name, key


def test_the_daily_cap_stops_an_import_and_the_same_command_goes_on_once_there_is_room(
    embedded: Service, tmp_path: Path
):
    # Given a source that may send 25 leads a day, and no midnight soon, which would be waited for
    until(lambda: time.time() % 86_400 < 86_400 - 180, 200, 0.5)
    name, key = source(embedded, "--daily-cap", "25")
    file = tmp_path / "leads.csv"
    good, _ = written(file, 45, "+49301000015")

    # When it sends 45, ten at once
    stopped = send_as(embedded, name, key, file, "--batch", "10", "--retry-for", "30")

    # Then two requests fit, and it does not wait for tomorrow
    assert_one_line(
        stopped,
        f"The API answered 429: The daily cap of source {name} is 25 leads a day: 5 more until ",
        "Later, or with a smaller --batch, the same command goes on from here.",
    )
    # And with fewer rows a request it uses up the rest
    smaller = send_as(embedded, name, key, file, "--batch", "5", "--retry-for", "30")
    assert_one_line(smaller, "0 more until ")
    # And once there is room, as there is tomorrow, it goes on from there
    assert embedded.run("ingest_api", "source", "change", name, "--daily-cap", "45").returncode == 0
    done = until(lambda: (tried := send_as(embedded, name, key, file)).returncode == 0 and tried, 60)
    assert f"{len(good)} rows accepted, 0 rejected" in done.stdout
    embedded.wait_until_nothing_waits()
    assert Counter(lead["email"] for lead in embedded.walk(source=name)) == Counter(good)


def test_an_import_whose_requests_are_larger_than_a_limit_goes_on_with_smaller_ones(embedded: Service, tmp_path: Path):
    # Given more rows in one request than a day has room for
    name, key = source(embedded, "--daily-cap", "8")
    file = tmp_path / "leads.csv"
    written(file, 10, "+49301000017")
    assert_one_line(send_as(embedded, name, key, file), "at most 8 leads in one request")

    # When the same command is given a smaller number
    done = send_as(embedded, name, key, file, "--batch", "4", "--retry-for", "30")

    # Then as many are accepted as fit
    assert_one_line(done, "0 more until ")
    assert json.loads((tmp_path / "leads.csv.import.json").read_bytes())["accepted"] == 8


@pytest.mark.slow
def test_the_rate_of_a_source_is_waited_out(embedded: Service, tmp_path: Path):
    # Given a source with a rate, and two minutes' leads of it
    name, key = source(embedded, "--rate", "20")
    file = tmp_path / "leads.csv"
    good, _ = written(file, 30, "+49301000016")

    # When it begins near the end of a minute
    until(lambda: time.time() % 60 > 50, 70, 0.1)
    done = send_as(embedded, name, key, file, "--batch", "10")

    # Then it goes on in the next one, and is through
    assert done.returncode == 0, done.stderr
    assert f"{len(good)} rows accepted, 0 rejected" in done.stdout
    embedded.wait_until_nothing_waits()
    assert Counter(lead["email"] for lead in embedded.walk(source=name)) == Counter(good)
