"""schema.lead.consent: the consent of a lead, and each rule of its fields by its path."""

from typing import Any

import pytest

from schema.lead import rules
from schema.lead.rules import NOT_OBJECT, UNKNOWN_FIELD
from tests.unit.lead_rules import CONTROL, NOT_PHONE, VALID, errors_of

CONSENT = {
    "url": "https://cert.trustedform.com/0123456789abcdef",
    "text": "I agree to be called.\nYes.",
    "ip": "2001:db8::7",
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
    "at": "2026-11-30T08:15:00.5+01:00",
}


def test_a_consent_is_kept_as_it_is_given_in_the_order_of_its_fields():
    given = rules.validate(VALID | {"consent": dict(reversed(CONSENT.items()))})

    assert list(given) == list(rules.FIELDS)
    assert list(given["consent"].items()) == list(CONSENT.items())
    for name in CONSENT:
        assert rules.validate(VALID | {"consent": {name: CONSENT[name]}})["consent"] == {name: CONSENT[name]}


@pytest.mark.parametrize("data", [VALID, VALID | {"consent": None}])
def test_a_lead_without_a_consent_has_no_such_field(data: dict[str, Any]):
    assert "consent" not in rules.validate(data)


STRING = "This value should be a string."


@pytest.mark.parametrize(
    ("consent", "errors"),
    [
        ("yes", {"consent": [NOT_OBJECT]}),
        (True, {"consent": [NOT_OBJECT]}),
        ([CONSENT], {"consent": [NOT_OBJECT]}),
        ({}, {"consent": ["This value should have at least one of its fields."]}),
        ({"url": "http://example.com"}, {"consent.url": ["This value should be a URL that begins with https://."]}),
        ({"url": "https://a b"}, {"consent.url": ["This value should be a URL that begins with https://."]}),
        ({"url": "https://a\n"}, {"consent.url": ["This value should be a URL that begins with https://."]}),
        ({"url": "https://" + "a" * 2041}, {"consent.url": ["This value should have 1 to 2048 characters."]}),
        ({"text": ""}, {"consent.text": ["This value should have 1 to 4096 characters."]}),
        ({"text": "x" * 4097}, {"consent.text": ["This value should have 1 to 4096 characters."]}),
        ({"text": "a\x00b"}, {"consent.text": [CONTROL]}),
        ({"userAgent": "x" * 1025}, {"consent.userAgent": ["This value should have 1 to 1024 characters."]}),
        ({"ip": "192.0.2"}, {"consent.ip": ["This value should be an IPv4 or IPv6 address."]}),
        ({"at": "yesterday"}, {"consent.at": ["This value should be an RFC 3339 time."]}),
        ({"at": "2026-11-30T08:15:00"}, {"consent.at": ["This value should be an RFC 3339 time."]}),
        ({"at": "2026-02-30T08:15:00Z"}, {"consent.at": ["This value should be an RFC 3339 time."]}),
        ({"url": None}, {"consent.url": [STRING]}),
        ({"ip": 7, "at": 7}, {"consent.ip": [STRING], "consent.at": [STRING]}),
        ({"email": "a@b.cd"}, {"consent.email": [UNKNOWN_FIELD]}),
    ],
)
def test_what_is_wrong_with_a_consent_is_named_by_its_path(consent: object, errors: dict[str, list[str]]):
    assert errors_of(VALID | {"consent": consent}) == errors
    # And beside what else is wrong
    assert errors_of(VALID | {"consent": consent, "phone": "0"}) == errors | {"phone": [NOT_PHONE]}


def test_a_consent_with_many_fields_is_not_spelled_out():
    many = {f"field{number}": number for number in range(50)}

    errors = errors_of(VALID | {"consent": many})
    assert len(errors) == 21
    assert errors["body"] == ["30 more fields are not known."]
    assert errors_of(VALID | {"consent": many | {"one": 1}}) == {"body": ["A lead should have at most 50 fields."]}
