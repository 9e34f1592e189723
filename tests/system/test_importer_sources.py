"""`python -m ingest_api import` as a source: its key, who goes on with whose import, and its limits."""

import itertools
import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import EMAIL, Service

from .import_command import run, send_as, written

# Longest time (seconds) until every process knows a source.
KNOWN_DEADLINE = 30.0

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
