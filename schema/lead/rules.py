"""The validation rules of a lead's fields, in marshmallow and as JSON Schema."""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Any

import orjson
from marshmallow import Schema, ValidationError, fields, missing, post_load
from marshmallow.validate import Email as EmailValidator

from schema.lead.consent import ConsentSchema

NAME_MAX = 255  # characters
EMAIL_MAX = 254  # characters, RFC 5321 section 4.5.3.1.3 less the angle brackets
PHONE_MAX = 16  # characters: "+" and the 15 digits of E.164
PHONE_PATTERN = r"^\+?[1-9]\d{1,14}$"
DATE_OF_BIRTH_MIN = date(1900, 1, 1)
ADDITIONAL_DATA_MAX_BYTES = 16 * 1024
ADDITIONAL_DATA_MAX_DEPTH = 16

# Most fields of an object that is checked as a lead, which has seven; with more it is something else. Checking a
# thousand unknown ones takes some milliseconds.
FIELDS_MAX = 50

# Most unknown fields that errors name, and most characters of such a name, so that errors are no larger than leads.
UNKNOWN_NAMED_MAX = 20
UNKNOWN_NAME_MAX = 64

BLANK = "This value should not be blank."
NOT_TEXT = "This value should be a string."
NOT_EMAIL = "This value is not a valid email address"
NOT_PHONE = f"This value should match pattern: /{PHONE_PATTERN}/"
NOT_OBJECT = "This value should be a JSON object."
UNKNOWN_FIELD = "This field is not known."
TOO_MANY_FIELDS = f"A lead should have at most {FIELDS_MAX} fields."
TOO_DEEP = f"This value should be at most {ADDITIONAL_DATA_MAX_DEPTH} levels deep."
TOO_LONG_INTEGER = "Integers in this value should fit into 64 bits."

_phone = re.compile(PHONE_PATTERN, re.ASCII)
_date = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_control = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_is_email = EmailValidator(error=NOT_EMAIL)


class _Text(fields.String):
    """A text with a rule, checked in one step: marshmallow's own steps would take longer than the checks."""

    default_error_messages = {
        "required": BLANK,
        "null": BLANK,
        "invalid": NOT_TEXT,
    }

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        """Return the text as it is kept. Raises ValidationError."""
        if not isinstance(value, str):
            return super().deserialize(value, attr, data, **kwargs)  # missing, null, or no text: an error
        text = self._checked(value)
        for validator in self.validators:
            validator(text)
        return text

    def _checked(self, text: str) -> str:
        """Return the text as it is kept. Raises ValidationError."""
        raise NotImplementedError


class Name(_Text):
    """A person's name: trimmed, 1 to NAME_MAX characters, no control characters."""

    def _checked(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise ValidationError(BLANK)
        if len(text) > NAME_MAX:
            raise ValidationError(f"This value is too long. It should have {NAME_MAX} characters or less.")
        if not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text):
            raise ValidationError("This value should not contain control characters.")
        return text


class Email(_Text):
    """An e-mail address of at most EMAIL_MAX characters, kept as it was given."""

    def _checked(self, text: str) -> str:
        if not text:
            raise ValidationError(BLANK)
        if len(text) > EMAIL_MAX or _control.search(text):
            raise ValidationError(NOT_EMAIL)
        _is_email(text)
        return text


class Phone(_Text):
    """A telephone number in E.164 form, the plus sign optional."""

    def _checked(self, text: str) -> str:
        if not text:
            raise ValidationError(BLANK)
        # fullmatch, because "$" allows a line feed at the end.
        if not _phone.fullmatch(text):
            raise ValidationError(NOT_PHONE)
        return text


class DateOfBirth(_Text):
    """A date as `YYYY-MM-DD`, from 1900-01-01 to today (UTC). It loads as that text."""

    def _checked(self, text: str) -> str:
        if not text:
            raise ValidationError(BLANK)
        if not _date.fullmatch(text):
            raise ValidationError("This value should be a date in the form YYYY-MM-DD.")
        try:
            born = date.fromisoformat(text)
        except ValueError:
            raise ValidationError("This value is not a date of the calendar.") from None
        if born < DATE_OF_BIRTH_MIN:
            raise ValidationError(f"This value should be {DATE_OF_BIRTH_MIN} or later.")
        if born > datetime.now(UTC).date():
            raise ValidationError("This value should not be in the future.")
        return text


class AdditionalData(fields.Raw):
    """An object with any JSON inside, bounded in size and depth; `null` is the same as absent."""

    default_error_messages = {"invalid": NOT_OBJECT}

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        """Return the object, or None for what is missing or null. Raises ValidationError."""
        if value is None or value is missing:
            return None
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        try:
            encoded = orjson.dumps(value)
        except TypeError:
            # orjson reads what is nested deeper than it writes; integers that are too long come from the codec alone.
            too_deep = _deeper_than(value, ADDITIONAL_DATA_MAX_DEPTH)
            raise ValidationError(TOO_DEEP if too_deep else TOO_LONG_INTEGER) from None
        if len(encoded) > ADDITIONAL_DATA_MAX_BYTES:
            raise ValidationError(f"This value should be at most {ADDITIONAL_DATA_MAX_BYTES} bytes as JSON.")
        if _deeper_than(value, ADDITIONAL_DATA_MAX_DEPTH):
            raise ValidationError(TOO_DEEP)
        for validator in self.validators:
            validator(value)
        return value


def _deeper_than(value: Any, levels: int) -> bool:
    """Tell whether objects and arrays are nested in `value` in more than `levels` levels."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in value if isinstance(item, dict | list))


# The same rules in JSON Schema, as far as it can express them. Patterns avoid \\s and \\d, whose meaning depends on the
# regex dialect; _BLANKS is what str.strip removes.
_BLANKS = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_INNER = rf"[^{_BLANKS}{_CONTROLS}]"
NAME_RULE = {
    "minLength": 1,
    "maxLength": NAME_MAX,
    "pattern": f"^[{_BLANKS}]*{_INNER}([^{_CONTROLS}]*{_INNER})?[{_BLANKS}]*$",
}
EMAIL_RULE = {"format": "email", "maxLength": EMAIL_MAX}
PHONE_RULE = {"pattern": PHONE_PATTERN.replace(r"\d", "[0-9]")}
DATE_RULE = {"format": "date"}
OBJECT_RULE = {"type": "object", "example": {"campaign": "spring"}}


class LeadSchema(Schema):
    """A lead as a client sends it. All broken fields are reported at once, including unknown ones."""

    error_messages = {"unknown": UNKNOWN_FIELD, "type": NOT_OBJECT}

    firstName = Name(
        required=True,
        metadata={"description": "First name; blanks around it are dropped", "example": "Ada", **NAME_RULE},
    )
    lastName = Name(
        required=True,
        metadata={"description": "Last name; blanks around it are dropped", "example": "Lovelace", **NAME_RULE},
    )
    email = Email(required=True, metadata={"description": "E-mail address", "example": "ada@example.com", **EMAIL_RULE})
    phone = Phone(
        required=True, metadata={"description": "Telephone number, E.164", "example": "+442071234567", **PHONE_RULE}
    )
    dateOfBirth = DateOfBirth(
        required=True,
        metadata={"description": "Date of birth, 1900-01-01 to today", "example": "1990-12-10", **DATE_RULE},
    )
    additionalData = AdditionalData(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Any JSON object of at most 16 KiB and 16 levels; a source may have a schema for it",
            **OBJECT_RULE,
        },
    )

    consent = fields.Nested(
        ConsentSchema, allow_none=True, load_default=None, metadata={"description": "The proof of the person's consent"}
    )

    def handle_error(self, error: ValidationError, data: Any, *, many: bool, **kwargs: Any) -> None:
        """Name what is wrong within a nested object by its path: `consent.url`. Marshmallow calls this."""
        raise ValidationError(_flat(error.messages_dict))

    @post_load
    def _in_order(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        # A lead without a consent is as leads were before there was one.
        return {name: data[name] for name in self.fields if name != "consent" or data[name] is not None}


LEAD = LeadSchema()

# The fields in the order in which responses show them.
FIELDS = tuple(LEAD.fields)

_required = tuple((name, field) for name, field in LEAD.fields.items() if field.required)
_additional_data = LEAD.fields["additionalData"]
_consent = LEAD.fields["consent"]
_known = frozenset(FIELDS)
_named = _known.union(f"consent.{name}" for name in ConsentSchema().fields)


def validate(data: object) -> dict[str, Any]:
    """Validate a decoded JSON value as a lead; return its fields, names trimmed, in the order of FIELDS.

    Without a consent the field `consent` is left out.
    Raises marshmallow's ValidationError, whose `messages` map each broken field to its messages. They name at most
    UNKNOWN_NAMED_MAX unknown fields, by their first UNKNOWN_NAME_MAX characters.
    """
    if not isinstance(data, dict):
        raise ValidationError({"body": [NOT_OBJECT]})
    if data.keys() <= _known:
        # Fast path: run each field's validator directly. On any failure the schema runs again and builds the messages.
        try:
            fields = {name: field.deserialize(data[name], name, data) for name, field in _required}
            fields["additionalData"] = _additional_data.deserialize(data.get("additionalData"), "additionalData", data)
            if data.get("consent") is not None:
                fields["consent"] = _consent.deserialize(data["consent"], "consent", data)
            return fields
        except (KeyError, ValidationError):
            pass
    consent = data.get("consent")
    if len(data) > FIELDS_MAX or (isinstance(consent, dict) and len(consent) > FIELDS_MAX):
        raise ValidationError({"body": [TOO_MANY_FIELDS]})
    try:
        loaded: dict[str, Any] = LEAD.load(data)
    except ValidationError as error:
        raise ValidationError(_bounded(error.messages_dict)) from None
    return loaded


def _flat(messages: dict[str, Any]) -> dict[str, Any]:
    """Return messages of nested fields under their paths: `consent.url`."""
    flat: dict[str, Any] = {}
    for name, found in messages.items():
        if isinstance(found, dict):
            flat.update((name if inner == "_schema" else f"{name}.{inner}", texts) for inner, texts in found.items())
        else:
            flat[name] = found
    return flat


def _bounded(messages: dict[str, Any]) -> dict[str, Any]:
    """Return the messages with a bounded number of unknown fields, whose names are cut."""
    bounded = {name: texts for name, texts in messages.items() if name in _named}
    unknown = [name for name in messages if name not in _named]
    bounded.update((name[:UNKNOWN_NAME_MAX], messages[name]) for name in unknown[:UNKNOWN_NAMED_MAX])
    if len(unknown) > UNKNOWN_NAMED_MAX:
        bounded["body"] = [f"{len(unknown) - UNKNOWN_NAMED_MAX} more fields are not known."]
    return bounded
