"""A source's JSON Schema for additionalData, over the started service."""

import csv
import itertools
import json
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import until
from tests.kit.service import Service

from .import_command import send_as
from .sources import CHANGE_DEADLINE, Source, command

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["vehicle"],
    "additionalProperties": False,
    "properties": {
        "vehicle": {
            "type": "object",
            "required": ["make", "year"],
            "properties": {"make": {"type": "string"}, "year": {"type": "integer", "minimum": 1950}},
        },
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
        "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
    },
}
GOOD = {"vehicle": {"make": "Ford", "year": 2019}, "zip": "10115"}

_numbers = itertools.count(1)


def with_schema(service: Service, directory: Path, schema: object = SCHEMA, *options: str) -> Source:
    """Make a source with a schema."""
    return Source(service, "--additional-data-schema", str(written(directory, schema)), *options)


def written(directory: Path, schema: object) -> Path:
    file = directory / f"schema{next(_numbers)}.json"
    file.write_text(schema if isinstance(schema, str) else json.dumps(schema, indent=2))
    return file


def sent(source: Source, data: Any = None, **fields: Any) -> httpx.Response:
    """Send a lead with that additionalData, or without any."""
    return source.post(a_lead(**fields) if data is None else a_lead(additionalData=data, **fields))


def refused(source: Source, data: Any = None, **fields: Any) -> dict[str, list[str]]:
    """Return the errors of a lead that is refused."""
    answer = sent(source, data, **fields)
    assert_error(answer, 400, "Validation failed")
    return answer.json()["errors"]


def test_a_lead_is_held_to_the_schema_of_its_source(service: Service, tmp_path: Path):
    # Given a source with a schema
    source = with_schema(service, tmp_path)

    # Then what fits is stored as it is given
    answer = sent(source, GOOD)
    assert answer.status_code == 202, answer.text
    lead = answer.json()["data"]
    service.wait_until_stored(lead["id"])
    assert service.lead(lead["id"])["additionalData"] == GOOD

    # And what does not is refused by its path, with all else that is wrong
    data = {"vehicle": {"year": 1900}, "items": [{"price": 1}, {}, {"price": "free"}], "zip": "x", "more": 1}
    assert refused(source, data, email="nobody") == {
        "email": ["This value is not a valid email address"],
        "additionalData.vehicle.make": ["This field is required."],
        "additionalData.vehicle.year": ["This value should be 1950 or more."],
        "additionalData.items.2.price": ["This value should be a number."],
        "additionalData.zip": ["This value should match pattern: /^[0-9]{5}$/"],
        "additionalData.more": ["This field is not known."],
    }
    # And so is a lead without any
    assert refused(source) == {"additionalData.vehicle": ["This field is required."]}
    assert refused(source, email="").keys() == {"email", "additionalData.vehicle"}
    # And our own rules come first
    assert refused(source, [1]) == {"additionalData": ["This value should be a JSON object."]}


def test_users_and_other_sources_send_what_they_like(embedded: Service, tmp_path: Path):
    with_schema(embedded, tmp_path)
    other = Source(embedded)

    assert sent(other, {"vehicle": 5}).status_code == 202
    assert embedded.post("/api/leads", a_lead(additionalData={"vehicle": 5})).status_code == 202
    assert embedded.post("/api/leads", a_lead()).status_code == 202


def test_a_bulk_names_the_errors_of_each_lead(embedded: Service, tmp_path: Path):
    # Given leads of which two do not fit
    source = with_schema(embedded, tmp_path)
    leads = [a_lead(additionalData=data) for data in (GOOD, {"vehicle": 5}, GOOD, {})]

    answer = embedded.post("/api/leads/bulk", leads, source.key)
    lines = b"\n".join(json.dumps(lead).encode() for lead in leads)
    as_lines = embedded.post("/api/leads/bulk", lines, source.key, Content_Type="application/x-ndjson")

    # Then the others are accepted
    for each in (answer, as_lines):
        assert each.status_code == 202, each.text
        data = each.json()["data"]
        assert (data["accepted"], data["rejected"]) == (2, 2)
        assert data["results"][1]["errors"] == {"additionalData.vehicle": ["This value should be a JSON object."]}
        assert data["results"][3]["errors"] == {"additionalData.vehicle": ["This field is required."]}
    # And when none fits it is a 400
    none = embedded.post("/api/leads/bulk", [leads[1], leads[3]], source.key)
    assert_error(none, 400, "Validation failed")
    assert none.json()["errors"] == {
        "0.additionalData.vehicle": ["This value should be a JSON object."],
        "1.additionalData.vehicle": ["This field is required."],
    }


def test_what_is_refused_counts_nowhere(embedded: Service, tmp_path: Path):
    source = with_schema(embedded, tmp_path, SCHEMA, "--daily-cap", "2")
    for _ in range(5):
        refused(source)

    assert [sent(source, GOOD).status_code for _ in range(3)] == [202, 202, 429]


def test_a_change_of_the_schema_holds_in_every_process_within_seconds(service: Service, tmp_path: Path):
    # Given a source without a schema
    source = Source(service)
    assert sent(source).status_code == 202

    def statuses(data: object) -> set[int]:
        return service.statuses("POST", "/api/leads", source.key, a_lead(additionalData=data))

    # When it gets one, then every process knows it
    command(service, "change", source.name, "--additional-data-schema", str(written(tmp_path, SCHEMA)))
    until(lambda: statuses({}) == {400}, CHANGE_DEADLINE, 0.1)
    assert sent(source, GOOD).status_code == 202

    # And with another one that
    done = service.run(
        "ingest_api", "source", "change", source.name, "--additional-data-schema", "-", given='{"required":["plan"]}'
    )
    assert done.returncode == 0, done.stderr
    until(lambda: statuses(GOOD) == {400}, CHANGE_DEADLINE, 0.1)
    assert refused(source, GOOD) == {"additionalData.plan": ["This field is required."]}
    assert sent(source, {"plan": "b"}).status_code == 202

    # And with none anything goes again
    command(service, "change", source.name, "--no-additional-data-schema")
    until(lambda: statuses({"anything": 1}) == {202}, CHANGE_DEADLINE, 0.1)


def test_a_schema_is_shown_as_it_was_given(embedded: Service, tmp_path: Path):
    file = written(tmp_path, SCHEMA)
    source = with_schema(embedded, tmp_path, file.read_text())

    size = f"a schema of {len(file.read_bytes())} bytes for additionalData"
    assert f"fields     {size}" in command(embedded, "show", source.name)
    assert command(embedded, "show", source.name, "--additional-data-schema") == file.read_text() + "\n"

    other = f"plain-{time.time_ns()}"
    command(embedded, "create", other)
    assert "fields     any additionalData" in command(embedded, "show", other)
    done = embedded.run("ingest_api", "source", "show", other, "--additional-data-schema")
    assert (done.returncode, done.stderr) == (1, f"Error: {other} has no schema for additionalData.\n")


def test_a_schema_that_is_refused_is_told_in_one_line(embedded: Service, tmp_path: Path):
    name, largest = f"refused-{time.time_ns()}", 60 * 1024
    command(embedded, "create", name)
    wrong = {
        "{": "it is not JSON: unexpected end of data: line 1 column 2",
        "[]": "it should be a JSON object",
        '{"type": "array"}': "it takes no object, and additionalData is one",
        '{"$ref": "http://127.0.0.1/x"}': "it refers to http://127.0.0.1/x: a reference should lead to a place in the "
        "schema itself, as #/$defs/name does",
    }
    for schema, reason in wrong.items():
        file = str(written(tmp_path, schema))
        for words in (["create", f"{name}-2"], ["change", name, "--rate", "5"]):
            done = embedded.run("ingest_api", "source", *words, "--additional-data-schema", file)
            said = f"Error: the schema for additionalData is refused: {reason}\n"
            assert (done.returncode, done.stdout, done.stderr) == (1, "", said)

    # And nothing was made or changed
    assert f"{name}-2" not in command(embedded, "list")
    assert "rate       unlimited" in command(embedded, "show", name)
    binary, empty, large = tmp_path / "binary.json", written(tmp_path, " "), tmp_path / "large.json"
    binary.write_bytes(b'{"title": "\xff"}')
    large.write_text('{"title": ' + '"ü"' * largest)
    too_large = f"is larger than {largest} bytes."
    for file, said in ((binary, "is not text in UTF-8."), (empty, "is empty."), (large, too_large)):
        done = embedded.run("ingest_api", "source", "change", name, "--additional-data-schema", str(file))
        assert (done.returncode, done.stderr) == (1, f"Error: {file} {said}\n")
    both = ("--no-additional-data-schema", "--additional-data-schema", str(empty))
    done = embedded.run("ingest_api", "source", "change", name, *both)
    assert done.returncode == 2
    assert "not both" in done.stderr


def test_a_source_whose_schema_cannot_be_used_gets_503_and_nobody_else(embedded: Service, tmp_path: Path):
    # Given a schema that an earlier release took
    source, other = with_schema(embedded, tmp_path), Source(embedded)
    with closing(sqlite3.connect(embedded.data / "leads.db", timeout=20)) as database, database:
        database.execute(
            "UPDATE sources SET additional_data_schema = ?, updated_at = ? WHERE name = ?",
            ('{"type": "objekt"}', "2026-01-01 00:00:00.000000", source.name),
        )

    # Then no lead of it is accepted, alone or in bulk, and all others are
    lead = a_lead(additionalData=GOOD)
    until(lambda: embedded.statuses("POST", "/api/leads", source.key, lead) == {503}, CHANGE_DEADLINE, 0.1)
    for answer in (source.post(lead), source.post_bulk(2)):
        assert_error(answer, 503, "The schema of this source cannot be used. Nothing was accepted.")
        assert answer.headers["Retry-After"] == "60"
    assert other.post(lead).status_code == 202
    assert embedded.post("/api/leads", lead).status_code == 202
    logged = [json.loads(line) for line in (embedded.data / "logs" / "api.log").read_text().splitlines()]
    assert any(line["event"] == "schema not usable" and line["source"] == source.name for line in logged)


def test_a_repeated_lead_gets_its_id_while_the_schema_is_the_same(embedded: Service, tmp_path: Path):
    source, key, lead = with_schema(embedded, tmp_path), f"once-{time.time_ns()}", a_lead(additionalData=GOOD)

    answers = [source.post(lead, Idempotency_Key=key) for _ in range(2)]

    assert [each.status_code for each in answers] == [202, 202]
    assert answers[0].json()["data"] == answers[1].json()["data"]


def imported(source: Source, file: Path) -> subprocess.CompletedProcess[str]:
    done = send_as(source.service, source.name, source.key, file)
    assert done.returncode == 0, done.stderr
    return done


def test_an_import_says_of_every_row_what_does_not_fit(embedded: Service, tmp_path: Path):
    # Given a file with more rows that do not fit than an answer spells out
    source = with_schema(embedded, tmp_path)
    file = tmp_path / "leads.ndjson"
    leads = [a_lead(additionalData=GOOD | {"zip": f"{number}"}) for number in range(250)]
    good = [a_lead(additionalData=GOOD) for _ in range(3)]
    file.write_text("".join(json.dumps(each) + "\n" for each in [*leads, *good, a_lead(email="nobody")]))

    done = imported(source, file)

    # Then each of them has its reason, and the others are stored once
    assert "3 rows accepted, 251 rejected" in done.stdout
    rejects = [json.loads(line) for line in (tmp_path / "leads.rejects.ndjson").read_text().splitlines()]
    reason = {"additionalData.zip": ["This value should match pattern: /^[0-9]{5}$/"]}
    assert [each["errors"] for each in rejects[:250]] == [reason] * 250
    assert rejects[250]["errors"].keys() == {"email", "additionalData.vehicle"}
    embedded.wait_until_nothing_waits()
    assert embedded.page(source=source.name)["pagination"]["total"] == 3


def test_an_import_of_a_csv_names_the_path(embedded: Service, tmp_path: Path):
    source = with_schema(embedded, tmp_path)
    file = tmp_path / "leads.csv"
    rows = [a_lead(additionalData=json.dumps(data)) for data in (GOOD, {"vehicle": {"make": "Ford", "year": "new"}})]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)

    done = imported(source, file)

    assert "1 rows accepted, 1 rejected" in done.stdout
    (reject,) = csv.DictReader((tmp_path / "leads.rejects.csv").read_text().splitlines())
    assert reject["_errors"] == "additionalData.vehicle.year: This value should be a whole number."


def test_nothing_of_a_refused_lead_is_in_the_logs(embedded: Service, tmp_path: Path):
    secret = f"secret{time.time_ns()}"
    source = with_schema(embedded, tmp_path)
    errors = refused(source, {"vehicle": secret, "zip": secret, "items": [{"price": secret}]})
    assert len(errors) == 3
    assert secret not in json.dumps(errors)

    # And once the request is in the request log
    def requests() -> str:
        shown = embedded.run("ingest_api", "requests", "errors", "-n", "5").stdout
        ids = [line.split()[-1] for line in shown.splitlines() if source.name in line]
        return "".join(embedded.run("ingest_api", "requests", "show", "--json", each).stdout for each in ids)

    until(lambda: "additionalData.vehicle" in requests(), 30, 0.2)
    logs = [path.read_text(errors="replace") for path in embedded.data.glob("logs/*") if path.is_file()]
    assert not any(secret in each for each in (requests(), *logs, embedded.output, embedded.errors))


def test_a_change_is_in_the_audit_trail_by_the_name_of_what_was_changed(embedded: Service, tmp_path: Path):
    source = Source(embedded)
    command(embedded, "change", source.name, "--additional-data-schema", str(written(tmp_path, SCHEMA)))

    shown = embedded.run("schema", "audit", "--json", "--limit", "1000").stdout

    (line,) = [each for each in shown.splitlines() if source.name in each and '"source_changed"' in each]
    assert json.loads(line)["parameters"] == ["additional_data_schema"]
    assert "vehicle" not in line
