"""POST /api/leads: what is accepted, and how that is answered."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kit.leads import (
    BLANK,
    MOMENT,
    NOT_EMAIL,
    NOT_PHONE,
    UUID7,
    a_lead,
    assert_common_headers,
    assert_error,
    assert_success,
)
from tests.kit.service import Service

FIELDS = ("firstName", "lastName", "email", "phone", "dateOfBirth")

TODAY = datetime.now(UTC).date()


def refused(service: Service, **changes: Any) -> dict[str, list[str]]:
    """Send a lead that must be refused and return its errors."""
    answer = service.post("/api/leads", a_lead(**changes))
    errors: dict[str, list[str]] = assert_error(answer, 400, "Validation failed")["errors"]
    return errors


def test_a_lead_is_answered_as_it_will_be_stored(service: Service):
    lead = a_lead(additionalData={"campaign": "spring", "tags": ["a", 1, None, {"b": True}], "score": 1.5})
    before = datetime.now(UTC)

    answer = service.post("/api/leads", lead)

    data = assert_success(answer, 202)
    assert_common_headers(answer)
    assert re.fullmatch(UUID7, data["id"])
    assert answer.headers["Location"] == f"/api/leads/{data['id']}"
    assert data["state"] == "queued"
    assert re.fullmatch(MOMENT, data["createdAt"])
    assert data["updatedAt"] == data["createdAt"]
    assert abs(datetime.fromisoformat(data["createdAt"]) - before) < timedelta(seconds=5)
    assert {name: data[name] for name in lead} == lead
    service.wait_until_stored(data["id"])
    assert service.lead(data["id"]) == {**data, "state": "stored"}


def test_a_consent_is_answered_and_stored_as_it_was_given(service: Service):
    # Given a lead with the proof of its person's consent
    consent = {
        "url": "https://cert.trustedform.com/0123456789abcdef",
        "text": "Ich stimme zu; =1+1\n„ja“ 😀",
        "ip": "2001:db8::7",
        "userAgent": "Mozilla/5.0",
        "at": "2026-11-30T08:15:00+01:00",
    }
    data = assert_success(service.post("/api/leads", a_lead(consent=consent)), 202)

    # Then the 202 has it, and so have lists and exports
    assert data["consent"] == consent
    service.wait_until_stored(data["id"])
    assert service.lead(data["id"]) == {**data, "state": "stored"}
    filters = {"email": data["email"]}
    (line,) = service.get("/api/leads/export", params=filters | {"format": "ndjson"}).text.splitlines()
    assert json.loads(line)["consent"] == consent
    text = service.get("/api/leads/export", params=filters).text
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert json.loads(row["consent"]) == consent
    assert "; =" not in text
    # And a wrong one is named by its path, in bulk as well
    wrong = a_lead(consent={"url": "http://example.com"})
    said = ["This value should be a URL that begins with https://."]
    assert refused(service, consent=wrong["consent"]) == {"consent.url": said}
    answer = service.post("/api/leads/bulk", [a_lead(), wrong])
    assert answer.json()["data"]["results"][1] == {"index": 1, "errors": {"consent.url": said}}


def test_without_additional_data_the_field_is_null(service: Service):
    for lead in (a_lead(), a_lead(additionalData=None)):
        data = assert_success(service.post("/api/leads", lead), 202)

        assert data["additionalData"] is None
        service.wait_until_stored(data["id"])
        assert service.lead(data["id"])["additionalData"] is None


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [..., None, ""], ids=["absent", "null", "empty"])
def test_a_missing_field_is_blank(service: Service, field: str, value: object):
    assert refused(service, **{field: value}) == {field: [BLANK]}


@pytest.mark.parametrize("field", ["firstName", "lastName"])
@pytest.mark.parametrize("value", [" ", "\t\n ", "\u00a0", "\u2003\u3000"])
def test_a_name_of_white_space_is_blank(service: Service, field: str, value: str):
    assert refused(service, **{field: value}) == {field: [BLANK]}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [1, 0, 1.5, True, False, [], ["Ada"], {}, {"a": "b"}], ids=repr)
def test_a_field_of_another_type_is_an_error_of_that_field(service: Service, field: str, value: object):
    assert refused(service, **{field: value}).keys() == {field}


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada example@example.com",
        "ada@@example.com",
        "ada@exam ple.com",
        "ada@example.com\n",
        "ada@example.com\x00",
        "ada@-.com",
        "<ada@example.com>",
        "a@example.com, b@example.com",
        "a" * 243 + "@example.com",
        "ada@" + "e" * 300 + ".com",
        " ada@example.com",
        "ada@example..com",
    ],
)
def test_what_is_no_address_is_refused(service: Service, email: str):
    assert refused(service, email=email) == {"email": [NOT_EMAIL]}


@pytest.mark.parametrize(
    "email",
    [
        "a@example.com",
        "ada+tag@mail.example.co.uk",
        "o'brien@example.com",
        "ADA@EXAMPLE.COM",
        "1@example.com",
        "a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 57 + ".com",
    ],
)
def test_an_address_is_kept_as_it_was_given(service: Service, email: str):
    assert len(email) <= 254
    assert assert_success(service.post("/api/leads", a_lead(email=email)), 202)["email"] == email


@pytest.mark.parametrize(
    "phone",
    [
        "0",
        "1",
        "+1",
        "0123456789",
        "+0123",
        "+1234567890123456",
        "1234567890123456",
        "12 34",
        "+44-20",
        "(44)20",
        "++44",
        "44+",
        "+44\n",
        "\n+44",
        "+٤٤٢٠٧",
        "４４２０",
        "abc",
        "+44a",
        " +44",
        "+44 ",
    ],
)
def test_what_is_no_telephone_number_is_refused(service: Service, phone: str):
    assert refused(service, phone=phone) == {"phone": [NOT_PHONE]}


@pytest.mark.parametrize("phone", ["12", "+12", "442071234567", "+123456789012345", "123456789012345"])
def test_a_telephone_number_may_lack_the_plus(service: Service, phone: str):
    assert assert_success(service.post("/api/leads", a_lead(phone=phone)), 202)["phone"] == phone


@pytest.mark.parametrize(
    "date",
    [
        "2023-02-29",
        "1900-02-29",
        "2023-02-30",
        "2023-13-01",
        "2023-00-10",
        "2023-01-00",
        "2023-01-32",
        "0000-00-00",
        "1899-12-31",
        "0001-01-01",
        str(TODAY + timedelta(days=2)),
        "9999-12-31",
        "10000-01-01",
        "1990-1-1",
        "19900101",
        "1990/01/01",
        "01-01-1990",
        "1990-01-01T00:00:00Z",
        "1990-W01-1",
        "1990-001",
        "１９９０-01-01",
        " 1990-01-01",
        "1990-01-01\n",
        "-1990-01-01",
        "soon",
    ],
)
def test_what_is_no_date_of_birth_is_refused(service: Service, date: str):
    errors = refused(service, dateOfBirth=date)

    assert errors.keys() == {"dateOfBirth"}
    assert errors["dateOfBirth"] != [BLANK]


def test_the_message_says_what_is_wrong_with_a_date(service: Service):
    wrong = ["19900101", "2023-02-29", "1899-12-31", str(TODAY + timedelta(days=2))]

    messages = {refused(service, dateOfBirth=date)["dateOfBirth"][0] for date in wrong}

    assert len(messages) == len(wrong)


@pytest.mark.parametrize("date", ["1900-01-01", "2024-02-29", "2000-02-29", str(TODAY)])
def test_the_dates_at_the_edges_are_taken(service: Service, date: str):
    assert assert_success(service.post("/api/leads", a_lead(dateOfBirth=date)), 202)["dateOfBirth"] == date


@pytest.mark.parametrize("value", ["text", 1, True, [], [{"a": 1}], 1.5], ids=repr)
def test_additional_data_is_an_object(service: Service, value: object):
    assert refused(service, additionalData=value).keys() == {"additionalData"}


def test_all_broken_fields_are_reported_at_once(service: Service):
    answer = service.post(
        "/api/leads",
        {"firstName": " ", "email": "x", "phone": "0", "dateOfBirth": "2023-02-29", "additionalData": [], "age": 3},
    )

    errors = assert_error(answer, 400, "Validation failed")["errors"]
    assert errors.keys() == {*FIELDS, "additionalData", "age"}
    assert errors["firstName"] == errors["lastName"] == [BLANK]
    assert errors["email"] == [NOT_EMAIL]
    assert errors["phone"] == [NOT_PHONE]


@pytest.mark.parametrize(
    "name", ["id", "createdAt", "state", "firstname", "first_name", "__proto__", "", "\x00", "😀", "a" * 1000]
)
def test_an_unknown_field_is_named(service: Service, name: str):
    # A long name is cut in the message.
    assert refused(service, **{name: "x"}).keys() == {name[:64]}


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"text"', b"true", b"[{}]"])
def test_a_body_that_is_no_object_is_refused(service: Service, body: bytes):
    assert_error(service.post("/api/leads", body), 400, "Validation failed")


def test_what_is_refused_is_not_stored(service: Service):
    refused(service, email="kept-out@example.com", phone="0")

    marker = service.accept(a_lead())
    service.wait_until_stored(*marker)
    assert service.page(email="kept-out@example.com")["pagination"]["total"] == 0
