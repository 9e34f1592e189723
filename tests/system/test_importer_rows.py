"""`python -m ingest_api import`: the files and rows that it takes, and the reasons of those that it rejects."""

import csv
import json
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import Service

from .import_command import run


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
