"""The proof of consent that comes with a lead: what a person agreed to, where and when."""

import ipaddress
import re
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

CONSENT_URL_MAX = 2048  # characters
CONSENT_TEXT_MAX = 4096  # characters
USER_AGENT_MAX = 1024  # characters

NOT_CONSENT = "This value should be a JSON object."
NOTHING_SAID = "This value should have at least one of its fields."
URL_PATTERN = r"^https://[!-~]+$"
URL_RULE = {"pattern": URL_PATTERN}
IP_RULE = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"  # no control characters but tab and line ends
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"

_time = re.compile(TIME_PATTERN, re.ASCII)


_NOT_TEXT: Any = {"invalid": "This value should be a string.", "null": "This value should be a string."}


def _address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValidationError("This value should be an IPv4 or IPv6 address.") from None


def _moment(text: str) -> None:
    try:
        if not _time.fullmatch(text):
            raise ValueError
        datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValidationError("This value should be an RFC 3339 time.") from None


def _text(longest: int, description: str, **rules: Any) -> fields.String:
    lengths = validate.Length(1, longest, error=f"This value should have 1 to {longest} characters.")
    characters = validate.Regexp(TEXT_PATTERN, error="This value should not contain control characters.")
    metadata = {"description": description, **rules}
    return fields.String(validate=[lengths, characters], metadata=metadata, error_messages=_NOT_TEXT)


class ConsentSchema(Schema):
    """A consent as a client sends it: at least one field. It is kept as it is given."""

    error_messages = {"unknown": "This field is not known.", "type": NOT_CONSENT}

    url = fields.String(
        validate=[
            validate.Length(1, CONSENT_URL_MAX, error=f"This value should have 1 to {CONSENT_URL_MAX} characters."),
            validate.Regexp(
                URL_PATTERN.replace("$", r"\Z"), error="This value should be a URL that begins with https://."
            ),
        ],
        error_messages=_NOT_TEXT,
        metadata={"description": "The certificate, of TrustedForm, Jornaya or another witness", **URL_RULE},
    )
    text = _text(CONSENT_TEXT_MAX, "What the person agreed to, in the words that they saw", pattern=TEXT_PATTERN)
    ip = fields.String(
        validate=_address,
        error_messages=_NOT_TEXT,
        metadata={"description": "Address from which the person agreed", **IP_RULE},
    )
    userAgent = _text(USER_AGENT_MAX, "The browser in which the person agreed", pattern=TEXT_PATTERN)
    at = fields.String(
        validate=_moment,
        error_messages=_NOT_TEXT,
        metadata={"description": "When the person agreed, RFC 3339", "format": "date-time"},
    )

    @validates_schema
    def _says_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError(NOTHING_SAID)

    @post_load
    def _in_order(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {name: data[name] for name in self.fields if name in data}
