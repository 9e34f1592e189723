"""What a JSON Schema finds wrong, in the words of our own rules: messages by path, which quote no value of a lead."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind

from schema.lead.rules import NOT_EMAIL, NOT_OBJECT, NOT_TEXT, UNKNOWN_FIELD, UNKNOWN_NAME_MAX

# Most paths that errors of one value name, so that answers stay small; and most characters of a path, and of what a
# message quotes from the schema.
PATHS_MAX = 20
ERROR_PATH_MAX = 200
QUOTED_MAX = 200

REQUIRED = "This field is required."
NOT_ALLOWED = "This value is not allowed."
NO_FIELDS = "This value should have no fields."
NAME_NOT_ALLOWED = "The name of this field is not allowed."
NO_FORM = "This value fits none of the forms that are allowed."
MORE_FORMS = "This value fits more than one of the forms that exclude each other."
NOT_UNIQUE = "Items of this value should differ from each other."
NOT_CONTAINED = "This value should have other items: too few or too many are of the kind that is asked for."
MORE_ERRORS = "Further errors in this value are not named."
GENERAL = "This value does not fit the schema of its source."

_KINDS = {
    "string": NOT_TEXT,
    "object": NOT_OBJECT,
    "integer": "This value should be a whole number.",
    "number": "This value should be a number.",
    "boolean": "This value should be true or false.",
    "array": "This value should be an array.",
    "null": "This value should be null.",
}

_FORMATS = {
    "email": NOT_EMAIL,
    "date": "This value should be a date in the form YYYY-MM-DD.",
    "date-time": "This value should be an RFC 3339 time.",
    "time": "This value should be an RFC 3339 time of day.",
    "ipv4": "This value should be an IPv4 address.",
    "ipv6": "This value should be an IPv6 address.",
    "uri": "This value should be a URI.",
    "uuid": "This value should be a UUID.",
}

Path = tuple[str | int, ...]


def by_path(errors: Iterable[ValidationError], root: str) -> dict[str, list[str]]:
    """Return the messages by path below `root`: `additionalData.items.2.price`.

    They name at most PATHS_MAX paths, cut to ERROR_PATH_MAX characters, and say under `root` when there are more.
    """
    found: dict[str, list[str]] = {}
    for error in errors:
        for path, message in _messages(error):
            name = _joined(root, path)
            if name not in found and len(found) == PATHS_MAX:
                found.setdefault(root, []).append(MORE_ERRORS)
                return found
            texts = found.setdefault(name, [])
            if message not in texts:
                texts.append(message)
    return found


def _joined(root: str, path: Path) -> str:
    return ".".join([root, *(str(each)[:UNKNOWN_NAME_MAX] for each in path)])[:ERROR_PATH_MAX]


def _messages(error: ValidationError) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong, each with the path of the value; a missing or unknown field has its own."""
    at, kind = tuple(error.instance_path), error.kind
    match kind:
        case ValidationErrorKind.Required(name):
            yield (*at, name), REQUIRED
        case ValidationErrorKind.AdditionalProperties(names) | ValidationErrorKind.UnevaluatedProperties(names):
            yield from (((*at, name), UNKNOWN_FIELD) for name in names)
        case ValidationErrorKind.PropertyNames(inner):
            yield (*at, str(inner.instance)), NAME_NOT_ALLOWED
        case ValidationErrorKind.FalseSchema() if _is_of_no_fields(error):
            yield at, NO_FIELDS
        case _:
            yield at, _message(kind)


def _is_of_no_fields(error: ValidationError) -> bool:
    """Tell whether `additionalProperties: false` stands alone: then the library names the object, not the field."""
    keyword = ["additionalProperties"]
    return error.schema_path[-1:] == keyword and error.instance_path[-1:] != keyword


def _message(kind: ValidationErrorKind) -> str:
    """Return the sentence for a value that is there and wrong."""
    match kind:
        case ValidationErrorKind.Type(types):
            return _one_of_kinds(types)
        case ValidationErrorKind.Enum(options):
            return f"This value should be one of {_quoted(*options)}."
        case ValidationErrorKind.Constant(value):
            return f"This value should be {_quoted(value)}."
        case ValidationErrorKind.Pattern(pattern):
            return f"This value should match pattern: /{_cut(pattern)}/"
        case ValidationErrorKind.Format(name):
            return _FORMATS.get(name, f"This value should have the format {name}.")
        case ValidationErrorKind.MinLength(limit):
            return f"This value is too short. It should have {limit} characters or more."
        case ValidationErrorKind.MaxLength(limit):
            return f"This value is too long. It should have {limit} characters or less."
        case ValidationErrorKind.Minimum(limit):
            return f"This value should be {limit} or more."
        case ValidationErrorKind.Maximum(limit):
            return f"This value should be {limit} or less."
        case ValidationErrorKind.ExclusiveMinimum(limit):
            return f"This value should be more than {limit}."
        case ValidationErrorKind.ExclusiveMaximum(limit):
            return f"This value should be less than {limit}."
        case ValidationErrorKind.MultipleOf(factor):
            return f"This value should be a multiple of {factor}."
        case ValidationErrorKind.MinItems(limit):
            return f"This value should have {limit} items or more."
        case ValidationErrorKind.MaxItems(limit) | ValidationErrorKind.AdditionalItems(limit):
            return f"This value should have {limit} items or less."
        case ValidationErrorKind.MinProperties(limit):
            return f"This value should have {limit} fields or more."
        case ValidationErrorKind.MaxProperties(limit):
            return f"This value should have {limit} fields or less."
    return _PLAIN.get(type(kind), GENERAL)


_PLAIN: dict[type[ValidationErrorKind], str] = {
    ValidationErrorKind.FalseSchema: NOT_ALLOWED,
    ValidationErrorKind.Not: NOT_ALLOWED,
    ValidationErrorKind.AnyOf: NO_FORM,
    ValidationErrorKind.OneOfNotValid: NO_FORM,
    ValidationErrorKind.OneOfMultipleValid: MORE_FORMS,
    ValidationErrorKind.UniqueItems: NOT_UNIQUE,
    ValidationErrorKind.Contains: NOT_CONTAINED,
    ValidationErrorKind.UnevaluatedItems: "This value has items that are not allowed.",
}


def _one_of_kinds(types: list[str]) -> str:
    """Return the sentence for a type: "This value should be a string or null."."""
    first, *others = (_KINDS[name].removesuffix(".") for name in sorted(types, key=list(_KINDS).index))
    return " or ".join([first, *(each.removeprefix("This value should be ") for each in others)]) + "."


def _quoted(*values: Any) -> str:
    """Return values of the schema as JSON, cut."""
    return _cut(", ".join(orjson.dumps(value, default=str).decode() for value in values))


def _cut(text: str) -> str:
    return text if len(text) <= QUOTED_MAX else text[:QUOTED_MAX] + "…"
