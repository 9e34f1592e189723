"""GET /api/leads/export: all leads of a filter, in a file that says what was sent."""

import csv
import io
import json

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service

STRANGE = [
    {"firstName": '=HYPERLINK("http://x")', "lastName": "+1", "phone": "+442071234567"},
    {"firstName": 'Says "hi", twice', "lastName": "Ångström 😀", "additionalData": {"a": [1, 'quote "', "line\n"]}},
]


def stored(service: Service, address: str, number: int = 0) -> list[str]:
    leads = [a_lead(email=address, **each) for each in STRANGE] + [a_lead(email=address) for _ in range(number)]
    ids = service.accept(*leads)
    service.wait_until_stored(*ids)
    return ids


def test_csv_quotes_what_needs_it_and_guards_against_formulas(service: Service):
    ids = stored(service, "csv@example.com")

    answer = service.get("/api/leads/export?email=csv@example.com", headers={"Accept": "text/csv"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["id"] for row in rows] == ids
    assert rows[0]["firstName"] == "'" + STRANGE[0]["firstName"]
    assert (rows[0]["lastName"], rows[0]["phone"]) == ("'+1", "+442071234567")
    assert (rows[1]["firstName"], rows[1]["lastName"]) == (STRANGE[1]["firstName"], STRANGE[1]["lastName"])
    assert json.loads(rows[1]["additionalData"]) == STRANGE[1]["additionalData"]


def test_csv_guards_where_a_semicolon_begins_a_cell_and_full_width_signs(service: Service):
    lead = a_lead(
        email="semicolon@example.com",
        firstName="Bob; =1+1",
        lastName="＝1+1",
        additionalData={"a": "x;=1+1", "b": "y; z"},
    )
    service.wait_until_stored(*service.accept(lead))

    answer = service.get("/api/leads/export?email=semicolon@example.com", headers={"Accept": "text/csv"})

    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (row["firstName"], row["lastName"]) == ("Bob; '=1+1", "'＝1+1")
    assert ";=" not in answer.text
    assert json.loads(row["additionalData"]) == lead["additionalData"]


def test_ndjson_has_each_lead_as_the_list_shows_it(service: Service):
    ids = stored(service, "ndjson@example.com", 1200)

    answer = service.get("/api/leads/export?format=ndjson&sortOrder=DESC&email=ndjson@example.com")

    found = [json.loads(line) for line in answer.content.splitlines()]
    assert [lead["id"] for lead in found] == ids[::-1]
    assert found == service.walk(email="ndjson@example.com")


def test_an_export_without_a_filter_has_every_lead_once(service: Service):
    stored(service, "all@example.com", 700)
    service.wait_until_nothing_waits()

    found = [json.loads(line)["id"] for line in service.get("/api/leads/export?format=ndjson").content.splitlines()]

    assert found == [lead["id"] for lead in service.walk(sortOrder="ASC")]


def test_an_export_of_nothing_is_its_header_alone(service: Service):
    answer = service.get("/api/leads/export?createdFrom=9999-01-01")

    assert answer.text.startswith("id,firstName,lastName,email,phone,dateOfBirth,additionalData,createdAt,updatedAt")
    assert len(answer.text.splitlines()) == 1


def test_wrong_parameters_and_tokens_are_refused_before_the_first_byte(service: Service):
    assert_error(service.get("/api/leads/export?format=xls"), 400)
    assert_error(service.get("/api/leads/export?page=1"), 400)
    assert_error(service.get("/api/leads/export", token=None), 401)
