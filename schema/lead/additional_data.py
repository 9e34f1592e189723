"""A source's JSON Schema for additionalData: what it may be, and what of a lead does not fit it.

It is of draft 2020-12, its references stay within it and go in no circle, and its patterns are matched in linear time.
"""

from typing import Any, Protocol

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationErrorKind
from jsonschema_rs import ValidationError as Misfit
from marshmallow import ValidationError

from schema.lead import rules
from schema.lead.schema_errors import GENERAL, MORE_ERRORS, QUOTED_MAX, by_path
from schema.lead.schema_references import BadReferences, check_references

# Longest schema (bytes): a column TEXT of MySQL holds 65,535.
SCHEMA_MAX = 60 * 1024

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Largest compiled pattern (bytes): bounds the time of a match, which grows with it and with the text.
PATTERN_SIZE_MAX = 1024 * 1024

# Most values in additionalData all of whose errors are collected. The library copies the value around each error, so
# that collecting takes quadratic time, a second for the largest additionalData.
VALUES_MAX = 100

ADDITIONAL_DATA = "additionalData"


class SchemaRefused(ValueError):
    """A text is no schema for additionalData; the message says why."""


class AdditionalDataCheck(Protocol):
    """Says what is wrong with additionalData."""

    def errors(self, data: dict[str, Any] | None) -> dict[str, list[str]]:
        """Return messages by path, none when nothing is wrong."""


class AdditionalDataSchema:
    """A compiled schema. Checking a typical lead takes microseconds (docs/sources.md)."""

    def __init__(self, text: str) -> None:
        """Compile a schema. Raises SchemaRefused."""
        schema = _decoded(text)
        try:
            check_references(schema)
            self._validator = Draft202012Validator(
                schema,
                validate_formats=True,
                ignore_unknown_formats=False,
                pattern_options=RegexOptions(size_limit=PATTERN_SIZE_MAX),
                offline=True,  # fetches nothing, whatever the schema names
            )
        except BadReferences as error:
            raise SchemaRefused(str(error)) from None
        except Misfit as error:
            raise SchemaRefused(_refusal(error)) from None
        if any(_excludes_objects(error) for error in self._validator.iter_errors({})):
            raise SchemaRefused("it takes no object, and additionalData is one")

    def errors(self, data: dict[str, Any] | None) -> dict[str, list[str]]:
        """Return messages by path, none when nothing is wrong; None is checked as an object without fields.

        Of more than VALUES_MAX values the first error alone is returned.
        """
        checked = {} if data is None else data
        if self._validator.is_valid(checked):
            return {}
        if _values_in(checked) <= VALUES_MAX:
            found = by_path(self._validator.iter_errors(checked), ADDITIONAL_DATA)
        else:
            found = self._first_error(checked)
        # Whatever the library says of it: what does not fit is not accepted.
        return found or {ADDITIONAL_DATA: [GENERAL]}

    def _first_error(self, data: dict[str, Any]) -> dict[str, list[str]]:
        try:
            self._validator.validate(data)
        except Misfit as error:
            found = by_path([error], ADDITIONAL_DATA)
            found.setdefault(ADDITIONAL_DATA, []).append(MORE_ERRORS)
            return found
        return {}


def validate(data: object, schema: AdditionalDataCheck | None) -> dict[str, Any]:
    """Validate a lead as rules.validate does, and its additionalData by the schema of its source, if it has one.

    Raises marshmallow's ValidationError with all broken fields at once.
    """
    if schema is None:
        return rules.validate(data)
    try:
        fields = rules.validate(data)
    except ValidationError as error:
        errors = error.messages_dict
        # Under `body` too much is wrong for additionalData to be known to keep within its bounds.
        if isinstance(data, dict) and errors.keys().isdisjoint((ADDITIONAL_DATA, "body")):
            errors = errors | schema.errors(data.get(ADDITIONAL_DATA))
        raise ValidationError(errors) from None
    errors = schema.errors(fields[ADDITIONAL_DATA])
    if errors:
        raise ValidationError(errors)
    return fields


def _decoded(text: str) -> dict[str, Any]:
    """Return the schema as it is written. Raises SchemaRefused."""
    if len(text.encode()) > SCHEMA_MAX:
        raise SchemaRefused(f"it is larger than {SCHEMA_MAX} bytes")
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SchemaRefused(f"it is not JSON: {error.msg}: line {error.lineno} column {error.colno}") from None
    if not isinstance(schema, dict):
        raise SchemaRefused("it should be a JSON object")
    dialect = schema.get("$schema", DIALECT)
    if dialect != DIALECT:
        raise SchemaRefused(f"its $schema should be {DIALECT}, or left out")
    return schema


def _refusal(error: Misfit) -> str:
    """Return what is wrong with a schema, which is the operator's own: it may be quoted."""
    place = ".".join(map(str, error.instance_path)) or "its root"
    match error.kind:
        case ValidationErrorKind.Format("regex"):
            return (
                f"at {place} is a pattern that cannot be matched in linear time, or is too large, or none: "
                "look-around and back-references are not taken"
            )
        case ValidationErrorKind.Custom() if error.instance_path[-1:] == ["format"]:
            return f"at {place} is a format that is not known: {error.instance}"
    return f"it is no JSON Schema of draft 2020-12: at {place}: {error.message[:QUOTED_MAX]}"


def _excludes_objects(error: Misfit) -> bool:
    """Tell whether an error of an object without fields is one of every object."""
    if error.instance_path:
        return False
    match error.kind:
        case ValidationErrorKind.Type() | ValidationErrorKind.FalseSchema():
            return True
        case ValidationErrorKind.Enum(options):
            return not any(isinstance(option, dict) for option in options)
        case ValidationErrorKind.Constant(value):
            return not isinstance(value, dict)
        case ValidationErrorKind.AnyOf(forms) | ValidationErrorKind.OneOfNotValid(forms):
            return all(any(map(_excludes_objects, errors)) for errors in forms)
    return False


def _values_in(value: Any) -> int:
    """Return how many values there are in an object or array, at any depth."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 0
    return len(value) + sum(map(_values_in, value))
