"""The body of a log-in."""

from typing import Any

from marshmallow import Schema, fields, validate

from ingest_api.auth.users import PASSWORD_MAX
from schema.lead.rules import BLANK, EMAIL_MAX, NOT_OBJECT, NOT_TEXT, UNKNOWN_FIELD

_messages: dict[str, Any] = {"required": BLANK, "null": BLANK, "invalid": NOT_TEXT}


def _length(most: int) -> list[validate.Validator]:
    too_long = f"This value is too long. It should have {most} characters or less."
    return [validate.Length(min=1, error=BLANK), validate.Length(max=most, error=too_long)]


class CredentialsSchema(Schema):
    """E-mail address and password; only types and lengths are checked."""

    error_messages = {"unknown": UNKNOWN_FIELD, "type": NOT_OBJECT}

    email = fields.String(required=True, error_messages=_messages, validate=_length(EMAIL_MAX))
    password = fields.String(required=True, error_messages=_messages, validate=_length(PASSWORD_MAX))


CREDENTIALS = CredentialsSchema()
