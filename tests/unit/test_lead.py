"""schema.lead.rules: each rule of the contract, and the message when it is broken."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, validate

from schema.lead import rules
from schema.lead.rules import BLANK, NOT_OBJECT, NOT_TEXT, UNKNOWN_FIELD
from tests.unit.lead_rules import CONTROL, NOT_PHONE, VALID, errors_of

NOT_EMAIL = "This value is not a valid email address"


TOO_LONG = "This value is too long. It should have 255 characters or less."
TEXTS = ["firstName", "lastName", "email", "phone", "dateOfBirth"]
NAMES = ["firstName", "lastName"]


def test_a_valid_lead_keeps_its_fields_in_the_order_of_the_contract():
    shuffled = dict(reversed(VALID.items()))

    assert list(rules.validate(shuffled).items()) == list(VALID.items())


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_a_body_that_is_no_object_is_named(value: object):
    assert errors_of(value) == {"body": [NOT_OBJECT]}


@pytest.mark.parametrize("field", TEXTS)
def test_a_field_that_is_absent_null_or_empty_is_blank(field: str):
    absent = {name: value for name, value in VALID.items() if name != field}

    assert errors_of(absent) == {field: [BLANK]}
    assert errors_of(VALID | {field: None}) == {field: [BLANK]}
    assert errors_of(VALID | {field: ""}) == {field: [BLANK]}


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, ["Ada"]])
@pytest.mark.parametrize("field", TEXTS)
def test_a_field_of_a_wrong_type_is_no_string(field: str, value: object):
    assert errors_of(VALID | {field: value}) == {field: [NOT_TEXT]}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("value", [" ", "\t\n", "\u00a0", "\u2003"])
def test_a_name_of_white_space_is_blank(field: str, value: str):
    assert errors_of(VALID | {field: value}) == {field: [BLANK]}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    "value",
    ["Ada", "O'Neil", "Žofie", "😀", "👩‍👩‍👧", "محمد", "שלום", "李", "A\u200fB", "e\u0301", "<script>", "'; DROP"],
)
def test_a_name_may_hold_any_characters_that_print(field: str, value: str):
    assert rules.validate(VALID | {field: value})[field] == value


@pytest.mark.parametrize("field", NAMES)
def test_a_name_is_trimmed(field: str):
    assert rules.validate(VALID | {field: " \tAda B\u00a0\n"})[field] == "Ada B"


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("character", ["\x00", "\x07", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9f"])
def test_a_name_with_a_control_character_inside_is_refused(field: str, character: str):
    assert errors_of(VALID | {field: f"Ada{character}B"}) == {field: [CONTROL]}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("character", ["a", "😀", "é"])
def test_a_name_has_at_most_255_characters_after_trimming(field: str, character: str):
    longest = character * 255

    assert rules.validate(VALID | {field: f"  {longest} "})[field] == longest
    assert errors_of(VALID | {field: longest + character}) == {field: [TOO_LONG]}


@pytest.mark.parametrize(
    "value",
    ["a@example.com", "A.B+c@EXAMPLE.com", "o'neil@example.co.uk", "a_b-c@sub.example.com", "1@2.example.com"],
)
def test_an_email_address_is_kept_as_it_was_given(value: str):
    assert rules.validate(VALID | {"email": value})["email"] == value


@pytest.mark.parametrize(
    "value",
    [
        *("ada", "ada@", "@example.com", "ada@@example.com", "a b@example.com", "ada@example", "ada@exa mple.com"),
        *("ada@example..com", ".ada@example.com", "ada.@example.com", "a..b@example.com", "ada@-example.com"),
        *(" ada@example.com", "ada@example.com ", "ada@example.com\n", "ada@example.com\x00", "a\x00@example.com"),
        *("a@b@example.com", "ada@example.com,b@example.com", "Ada <ada@example.com>", " "),
    ],
)
def test_what_is_no_email_address_is_refused(value: str):
    assert errors_of(VALID | {"email": value}) == {"email": [NOT_EMAIL]}


def test_an_email_address_has_at_most_254_characters():
    domain = ".".join(["d" * 60] * 3) + ".com"  # 186 characters
    longest = "a" * (254 - 1 - len(domain)) + "@" + domain

    assert len(longest) == 254
    assert rules.validate(VALID | {"email": longest})["email"] == longest
    assert errors_of(VALID | {"email": "a" + longest}) == {"email": [NOT_EMAIL]}


@pytest.mark.parametrize("value", ["12", "+12", "442071234567", "+442071234567", "123456789012345", "+123456789012345"])
def test_a_phone_number_is_e164_with_or_without_plus(value: str):
    assert rules.validate(VALID | {"phone": value})["phone"] == value


@pytest.mark.parametrize(
    "value",
    [
        *("1", "+1", "+", "0123456", "+0123456", "1234567890123456", "+1234567890123456", "++442071234567"),
        *("+44 2071234567", "+44-207", "(442)07", "+442071234567\n", " +442071234567", "+4420712a", "4420\x00712"),
        *("+٤٤٢٠٧١٢٣٤٥٦٧", "٤٤٢٠٧", "1٢345", "１２３４５", "phone"),
    ],
)
def test_what_is_no_e164_number_is_refused_with_its_pattern(value: str):
    assert errors_of(VALID | {"phone": value}) == {"phone": [NOT_PHONE]}


@pytest.mark.parametrize("value", ["1900-01-01", "1999-12-31", "2000-02-29", "2024-02-29"])
def test_a_date_of_birth_is_kept_as_it_was_given(value: str):
    assert rules.validate(VALID | {"dateOfBirth": value})["dateOfBirth"] == value


FORM = "This value should be a date in the form YYYY-MM-DD."
CALENDAR = "This value is not a date of the calendar."
EARLY = "This value should be 1900-01-01 or later."
FUTURE = "This value should not be in the future."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((text, FORM) for text in ("10.12.1990", "1990-1-1", "19901210", "1990-12-10T00:00:00Z", "1990-W50-1", "x")),
        *((text, FORM) for text in ("1990-12-10\n", " 1990-12-10", "١٩٩٠-12-10", "1990-12-10\x00", "-1990-12-10")),
        *((text, CALENDAR) for text in ("1990-02-30", "1990-13-01", "1990-00-10", "1990-01-00", "1900-02-29")),
        *((text, CALENDAR) for text in ("0000-01-01", "2023-02-29")),
        *((text, EARLY) for text in ("1899-12-31", "0001-01-01")),
        *((text, FUTURE) for text in ("9999-12-31", (datetime.now(UTC) + timedelta(days=2)).date().isoformat())),
    ],
)
def test_a_date_of_birth_that_breaks_a_rule_is_told_which(value: str, message: str):
    assert errors_of(VALID | {"dateOfBirth": value}) == {"dateOfBirth": [message]}


def test_the_last_date_of_birth_is_today_in_utc():
    with time_machine.travel(datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), tick=False):
        assert rules.validate(VALID | {"dateOfBirth": "2026-03-01"})["dateOfBirth"] == "2026-03-01"
        assert errors_of(VALID | {"dateOfBirth": "2026-03-02"}) == {"dateOfBirth": [FUTURE]}


def test_unknown_fields_are_named():
    assert errors_of(VALID | {"id": "x", "firstname": "Ada"}) == {"id": [UNKNOWN_FIELD], "firstname": [UNKNOWN_FIELD]}


def test_all_broken_fields_are_reported_at_once():
    broken = {"firstName": "", "email": "x", "phone": "x", "dateOfBirth": "x", "additionalData": 1, "extra": 1}

    assert errors_of(broken) == {
        "firstName": [BLANK],
        "lastName": [BLANK],
        "email": [NOT_EMAIL],
        "phone": [NOT_PHONE],
        "dateOfBirth": [FORM],
        "additionalData": [NOT_OBJECT],
        "extra": [UNKNOWN_FIELD],
    }


values = st.sampled_from(
    [
        None,
        "",
        " Ada ",
        "a\nb",
        "ada@example.com",
        "+442071234567",
        "1990-12-10",
        "x" * 256,
        7,
        {},
        [],
        {"ip": "192.0.2.7"},
    ]
)


@given(st.dictionaries(st.sampled_from([*rules.FIELDS, "other"]), values).map(lambda changes: VALID | changes))
def test_the_short_way_says_what_the_schema_says(data: dict[str, Any]):
    def told(way: Callable[[Any], dict[str, Any]]) -> object:
        try:
            return list(way(data).items())
        except ValidationError as error:
            return error.messages

    assert told(rules.validate) == told(rules.LEAD.load)


def test_a_rule_that_is_added_with_validate_holds_for_good_looking_leads_too(monkeypatch: pytest.MonkeyPatch):
    rule = validate.NoneOf(["Lovelace"], error="Not her.")
    monkeypatch.setattr(rules.LEAD.fields["lastName"], "validators", [rule])

    assert errors_of(VALID) == {"lastName": ["Not her."]}
    assert rules.validate({**VALID, "lastName": "Hopper"})["lastName"] == "Hopper"


def test_an_object_with_more_fields_than_fifty_is_not_looked_at():
    many = {f"field{number}": number for number in range(51)}

    assert errors_of(many) == {"body": ["A lead should have at most 50 fields."]}
    assert "body" in errors_of(VALID | {"email": "x", **{f"field{number}": 1 for number in range(46)}})


def test_at_most_twenty_unknown_fields_are_named_and_their_number_is():
    errors = errors_of(VALID | {"email": "x"} | {f"field{number}": number for number in range(40)})

    named = {name: messages for name, messages in errors.items() if messages == [UNKNOWN_FIELD]}
    assert len(named) == 20
    assert errors["email"] == [NOT_EMAIL]
    assert errors["body"] == ["20 more fields are not known."]
    assert len(errors) == 22


def test_a_long_name_is_cut_where_it_is_told():
    assert errors_of(VALID | {"x" * 100_000: 1}) == {"x" * 64: [UNKNOWN_FIELD]}
