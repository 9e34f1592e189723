"""schema.lead.additional_data: which schemas a source may have, and what of a lead is held to them."""

import json

import pytest
from marshmallow import ValidationError

from schema.lead import additional_data, rules
from schema.lead.additional_data import SCHEMA_MAX, AdditionalDataSchema
from schema.lead.rules import NOT_EMAIL, NOT_OBJECT
from schema.lead.schema_errors import REQUIRED
from tests.kit.leads import a_lead
from tests.unit.own_schemas import VEHICLE, compiled, of_value, refusal

# What is refused as a schema


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON: "),
        ('{"type": "object"', "it is not JSON: unexpected end of data: line 1 column 18"),
        ("[]", "it should be a JSON object"),
        ("true", "it should be a JSON object"),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', f"its $schema should be {additional_data.DIALECT}"),
        ('{"$schema": 5}', f"its $schema should be {additional_data.DIALECT}"),
        ('{"type": "objekt"}', "it is no JSON Schema of draft 2020-12: at type: "),
        (
            '{"properties": {"a": {"minLength": -1}}}',
            "it is no JSON Schema of draft 2020-12: at properties.a.minLength: ",
        ),
        ('{"properties": {"a": {"format": "int32"}}}', "at properties.a.format is a format that is not known: int32"),
        ('{"required": "a"}', "it is no JSON Schema of draft 2020-12: at required: "),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(text: str, reason: str):
    assert refusal(text).startswith(reason)


def test_a_schema_says_its_dialect_or_does_not():
    compiled({"$schema": additional_data.DIALECT})
    compiled({})


def test_a_schema_is_bounded():
    start = '{"type": "object", "description": "'
    largest = start + "é" * ((SCHEMA_MAX - len(start) - 2) // 2) + '"}'
    AdditionalDataSchema(largest + " " * (SCHEMA_MAX - len(largest.encode())))

    assert refusal(largest + "  ") == f"it is larger than {SCHEMA_MAX} bytes"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": ["string", "null"]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
        {"allOf": [{}, False]},
        {"enum": [1, "a"]},
        {"const": "a"},
        {"anyOf": [{"type": "array"}, {"const": 5}]},
        {"oneOf": [{"type": "array"}, {"type": "null"}]},
    ],
)
def test_a_schema_that_takes_no_object_is_refused(schema: object):
    assert refusal(json.dumps(schema)) == "it takes no object, and additionalData is one"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["object", "null"], "required": ["a"], "minProperties": 3},
        {"enum": [1, {"a": 1}]},
        {"const": {"a": 1}},
        {"anyOf": [{"type": "array"}, {"required": ["a"]}]},
        {"oneOf": [{"required": ["a"]}, {"type": "null"}]},
        {"properties": {"a": False}},
        {"not": {"required": ["a"]}},
    ],
)
def test_a_schema_that_takes_some_object_is_taken(schema: object):
    compiled(schema)


# Patterns


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(?<!a)b", r"(a)\1", "(a", "(a{1000}){1000}"])
@pytest.mark.parametrize("keyword", ["pattern", "patternProperties"])
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_refused(pattern: str, keyword: str):
    rule = {"pattern": pattern} if keyword == "pattern" else {"patternProperties": {pattern: {}}}

    assert "is a pattern that cannot be matched in linear time" in refusal(json.dumps({"properties": {"a": rule}}))


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"^(.*a){20}$", r"^([a-z]+)*\d$"])
def test_a_pattern_that_takes_others_for_ever_ends(pattern: str):
    # A backtracking engine would need some 2 ** 16000 steps for most of these.
    assert of_value({"pattern": pattern}, "a" * 16_000 + "!") == {
        "additionalData.a": [f"This value should match pattern: /{pattern}/"]
    }


def test_digits_are_ascii_and_the_end_is_the_end():
    for value in ("٣", "3\n"):
        assert of_value({"pattern": r"^\d$"}, value) != {}
    assert of_value({"pattern": r"^\d$"}, "3") == {}


# A whole lead


def broken(data: object, schema: AdditionalDataSchema | None) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        additional_data.validate(data, schema)
    return error.value.messages_dict


def test_a_lead_that_fits_is_as_it_is_without_a_schema():
    lead = a_lead(additionalData={"vehicle": {"make": "Ford", "year": 2019}, "more": 1})

    assert additional_data.validate(lead, compiled(VEHICLE)) == rules.validate(lead)


def test_all_broken_fields_of_a_lead_are_reported_at_once():
    errors = broken(a_lead(email="nobody", additionalData={"vehicle": 5}), compiled(VEHICLE))

    assert errors == {"email": [NOT_EMAIL], "additionalData.vehicle": [NOT_OBJECT]}


def test_a_lead_without_additional_data_is_held_to_the_schema():
    for lead in (a_lead(), a_lead(additionalData=None)):
        assert broken(lead, compiled(VEHICLE)) == {"additionalData.vehicle": [REQUIRED]}
        assert broken(lead | {"email": ""}, compiled(VEHICLE)).keys() == {"email", "additionalData.vehicle"}
        assert additional_data.validate(lead, None)["additionalData"] is None


@pytest.mark.parametrize("data", [5, None, [], {f"f{number}": 1 for number in range(60)}])
def test_what_is_no_lead_is_refused_as_without_a_schema(data: object):
    assert broken(data, compiled(VEHICLE)) == broken(data, None)


@pytest.mark.parametrize("data", ["x", [1], {"a": "x" * 17_000}, {"a": 2**70}])
def test_additional_data_that_breaks_our_own_rules_is_not_held_to_the_schema(data: object):
    lead = a_lead(additionalData=data)

    assert broken(lead, compiled(VEHICLE)) == broken(lead, None)
