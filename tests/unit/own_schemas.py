"""What the tests of a source's own schema share: one of vehicles, and what a schema says."""

import json

import pytest

from schema.lead.additional_data import AdditionalDataSchema, SchemaRefused

VEHICLE = {
    "type": "object",
    "required": ["vehicle"],
    "properties": {
        "vehicle": {
            "type": "object",
            "required": ["make", "year"],
            "properties": {"make": {"type": "string"}, "year": {"type": "integer", "minimum": 1950}},
        },
        "items": {"type": "array", "items": {"properties": {"price": {"type": "number"}}}},
    },
}


def compiled(schema: object) -> AdditionalDataSchema:
    return AdditionalDataSchema(json.dumps(schema))


def refusal(text: str) -> str:
    """Return why a schema is refused."""
    with pytest.raises(SchemaRefused) as refused:
        AdditionalDataSchema(text)
    return str(refused.value)


def of_value(rule: object, value: object) -> dict[str, list[str]]:
    """Return the errors of a field `a` with that rule and that value."""
    return compiled({"properties": {"a": rule}}).errors({"a": value})
