"""schema.lead.additional_data and schema_errors: which schemas a source may have, and what they say of its leads."""

import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from schema.lead import additional_data, rules
from schema.lead.additional_data import SCHEMA_MAX, VALUES_MAX, AdditionalDataSchema, SchemaRefused
from schema.lead.rules import NOT_EMAIL, NOT_OBJECT, NOT_TEXT, UNKNOWN_FIELD, UNKNOWN_NAME_MAX
from schema.lead.schema_errors import (
    ERROR_PATH_MAX,
    MORE_ERRORS,
    MORE_FORMS,
    NAME_NOT_ALLOWED,
    NO_FIELDS,
    NO_FORM,
    NOT_ALLOWED,
    NOT_CONTAINED,
    NOT_UNIQUE,
    PATHS_MAX,
    QUOTED_MAX,
    REQUIRED,
)
from schema.lead.schema_references import EXPANDED_MAX, LEVELS_MAX
from tests.kit.leads import a_lead

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


# What is outside


@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("place", ["root", "property", "unused", "identified"])
def test_nothing_that_a_schema_refers_to_is_fetched(word: str, place: str):
    # Given a server that would have it
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        schema = {
            "root": {word: url},
            "property": {"properties": {"a": {word: url}}},
            "unused": {"$defs": {"a": {word: url}}},
            "identified": {"$id": url, "properties": {"a": {word: "other.json"}}},
        }[place]

        # Then the schema is refused, and nobody called
        assert "a reference should lead to a place in the schema itself" in refusal(json.dumps(schema))
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("reference", ["file:///etc/hostname", "other.json", "#name", "urn:x", "", "/$defs/a"])
def test_a_reference_that_leads_outside_is_refused(reference: str):
    schema = {"$defs": {"a": {"$anchor": "name"}}, "properties": {"a": {"$ref": reference}}}

    assert refusal(json.dumps(schema)).startswith(f"it refers to {reference}: a reference should lead to a place in")


@pytest.mark.parametrize("reference", ["#/$defs/none", "#/$defs/a/type/x", "#/allOf/7", "#/allOf/x", "#/"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str):
    schema = {"$defs": {"a": {"type": "string"}}, "allOf": [{}], "properties": {"a": {"$ref": reference}}}

    assert refusal(json.dumps(schema)) == f"it refers to {reference}, which is not in it"


@pytest.mark.parametrize("reference", ["#/$defs/a%20b~1c~0", "#/properties/b", "#/properties/b/allOf/0"])
def test_references_within_the_schema_are_followed(reference: str):
    text = {"type": "string"}
    schema = {"$defs": {"a b/c~": text}, "properties": {"a": {"$ref": reference}, "b": text | {"allOf": [text]}}}

    assert compiled(schema).errors({"a": 1}) == {"additionalData.a": [NOT_TEXT]}


def test_fields_may_be_called_as_keywords_are():
    names = ("$ref", "$id", "$schema", "$defs", "properties")
    schema = compiled({"properties": {name: {"type": "string"} for name in names}, "required": ["$ref"]})

    assert schema.errors(dict.fromkeys(names, "x")) == {}
    assert schema.errors(dict.fromkeys(names, 1)).keys() == {f"additionalData.{name}" for name in names}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"items": {"$dynamicRef": "#/properties/a"}}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"anyOf": [{"properties": {"x": {"items": {"$ref": "#/$defs/a"}}}}, True]}}},
    ],
)
def test_a_schema_that_refers_to_itself_is_refused(schema: object):
    # The time for errors of a lead would grow exponentially with its depth.
    assert refusal(json.dumps(schema)) == "it refers to itself"


def doubled(levels: int) -> dict[str, Any]:
    """Return a schema in which each level refers to the next one twice."""
    each = {f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$defs": each | {f"d{levels}": {"type": "array"}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}


def test_a_schema_is_bounded_with_its_references_written_out():
    assert compiled(doubled(7)).errors({"a": 1}) == {"additionalData.a": [NO_FORM]}

    assert refusal(json.dumps(doubled(20))) == (
        f"it has more than {EXPANDED_MAX} values when its references are written out"
    )


@pytest.mark.parametrize("levels", [LEVELS_MAX, 1020])
def test_a_schema_is_bounded_in_levels(levels: int):
    assert refusal('{"not":' * levels + "{}" + "}" * levels) == f"it has more than {LEVELS_MAX} levels"


def test_only_the_root_of_a_schema_has_an_id():
    compiled({"$id": "https://example.com/lead", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}})

    assert "has an $id within" in refusal('{"$defs": {"a": {"$id": "https://example.com/a"}}}')


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


# Sentences


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        ({"type": "string"}, 1, NOT_TEXT),
        ({"type": "object"}, [], NOT_OBJECT),
        ({"type": "integer"}, 1.5, "This value should be a whole number."),
        ({"type": "number"}, "1", "This value should be a number."),
        ({"type": "boolean"}, 0, "This value should be true or false."),
        ({"type": "array"}, {}, "This value should be an array."),
        ({"type": "null"}, 0, "This value should be null."),
        ({"type": ["null", "integer", "string"]}, [], "This value should be a string or a whole number or null."),
        ({"enum": ["new", 2, None]}, "old", 'This value should be one of "new", 2, null.'),
        ({"const": {"a": 1}}, {}, 'This value should be {"a":1}.'),
        ({"pattern": "^[0-9]{5}$"}, "x", "This value should match pattern: /^[0-9]{5}$/"),
        ({"minLength": 3}, "ab", "This value is too short. It should have 3 characters or more."),
        ({"maxLength": 1}, "ab", "This value is too long. It should have 1 characters or less."),
        ({"minimum": 3}, 2, "This value should be 3 or more."),
        ({"maximum": 3.5}, 4, "This value should be 3.5 or less."),
        ({"exclusiveMinimum": 3}, 3, "This value should be more than 3."),
        ({"exclusiveMaximum": 3}, 3, "This value should be less than 3."),
        ({"multipleOf": 5}, 7, "This value should be a multiple of 5."),
        ({"minItems": 2}, [1], "This value should have 2 items or more."),
        ({"maxItems": 1}, [1, 2], "This value should have 1 items or less."),
        ({"uniqueItems": True}, [1, 1], NOT_UNIQUE),
        ({"contains": {"type": "string"}}, [1], NOT_CONTAINED),
        ({"contains": {"type": "string"}, "maxContains": 1}, ["a", "b"], NOT_CONTAINED),
        ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2], "This value has items that are not allowed."),
        ({"minProperties": 1}, {}, "This value should have 1 fields or more."),
        ({"maxProperties": 0}, {"b": 1}, "This value should have 0 fields or less."),
        (False, 1, NOT_ALLOWED),
        ({"not": {"type": "string"}}, "x", NOT_ALLOWED),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 1, NO_FORM),
        ({"oneOf": [{"type": "string"}, {"minimum": 5}]}, 1, NO_FORM),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 7, MORE_FORMS),
        ({"format": "email"}, "nobody", NOT_EMAIL),
        ({"format": "date"}, "2026-02-30", "This value should be a date in the form YYYY-MM-DD."),
        ({"format": "date-time"}, "today", "This value should be an RFC 3339 time."),
        ({"format": "time"}, "noon", "This value should be an RFC 3339 time of day."),
        ({"format": "ipv4"}, "1.2.3", "This value should be an IPv4 address."),
        ({"format": "ipv6"}, "x", "This value should be an IPv6 address."),
        ({"format": "uri"}, "x", "This value should be a URI."),
        ({"format": "uuid"}, "x", "This value should be a UUID."),
        ({"format": "hostname"}, "-", "This value should have the format hostname."),
    ],
)
def test_each_keyword_has_a_sentence(rule: object, value: object, message: str):
    assert of_value(rule, value) == {"additionalData.a": [message]}


@pytest.mark.parametrize(
    ("rule", "value", "errors"),
    [
        ({"required": ["b", "c"]}, {"c": 1}, {"a.b": [REQUIRED]}),
        ({"dependentRequired": {"b": ["c"]}}, {"b": 1}, {"a.c": [REQUIRED]}),
        ({"if": {"required": ["b"]}, "then": {"required": ["c"]}}, {"b": 1}, {"a.c": [REQUIRED]}),
        ({"additionalProperties": False, "properties": {"d": {}}}, {"b": 1, "c": 2}, {
            "a.b": [UNKNOWN_FIELD], "a.c": [UNKNOWN_FIELD]
        }),
        ({"additionalProperties": False}, {"b": 1, "c": 2}, {"a": [NO_FIELDS]}),
        ({"unevaluatedProperties": False, "properties": {"b": {}}}, {"b": 1, "c": 2}, {"a.c": [UNKNOWN_FIELD]}),
        ({"propertyNames": {"pattern": "^x"}}, {"b": 1, "xc": 2}, {"a.b": [NAME_NOT_ALLOWED]}),
        ({"items": {"type": "string"}}, ["b", 1], {"a.1": [NOT_TEXT]}),
        ({"prefixItems": [{}], "items": False}, [1, 2], {"a.1": [NOT_ALLOWED]}),
        ({"allOf": [{"type": "string"}, {"type": "string"}, {"minimum": 2}]}, 1, {
            "a": [NOT_TEXT, "This value should be 2 or more."]
        }),
    ],
)  # fmt: skip
def test_each_error_is_under_the_path_of_the_field_that_is_wrong(rule: object, value: object, errors: dict[str, Any]):
    assert of_value(rule, value) == {f"additionalData.{path}": messages for path, messages in errors.items()}


def test_errors_are_found_at_any_depth_and_all_at_once():
    data = {"vehicle": {"make": 5, "year": 1900}, "items": [{"price": 1}, {}, {"price": "free"}]}

    assert compiled(VEHICLE).errors(data) == {
        "additionalData.vehicle.make": [NOT_TEXT],
        "additionalData.vehicle.year": ["This value should be 1950 or more."],
        "additionalData.items.2.price": ["This value should be a number."],
    }


def test_additional_data_that_is_left_out_is_an_object_without_fields():
    assert compiled(VEHICLE).errors(None) == compiled(VEHICLE).errors({}) == {"additionalData.vehicle": [REQUIRED]}
    assert compiled({"type": "object"}).errors(None) == {}


@pytest.mark.parametrize("name", ["a.b", "a/b", "~0", " ", "0", "ключ", "a\nb", '"', "$ref", "__proto__"])
def test_a_field_with_an_odd_name_is_named_as_it_is(name: str):
    schema = compiled({"additionalProperties": {"additionalProperties": {"type": "string"}}})

    assert schema.errors({name: {name: 1}}) == {f"additionalData.{name}.{name}": [NOT_TEXT]}


def test_a_field_with_no_name_is_told_by_the_object_that_it_is_in():
    # The library leaves it out of its paths.
    assert compiled({"additionalProperties": {"type": "string"}}).errors({"": 1}) == {"additionalData": [NOT_TEXT]}


@pytest.mark.parametrize(
    "rule",
    [{"enum": ["x" * 5000]}, {"const": "x" * 5000}, {"pattern": f"^{'x' * 5000}$"}, {"enum": [[1] * 5000, {"a": 2}]}],
)
def test_a_sentence_quotes_no_more_of_a_schema_than_it_should(rule: object):
    ((message,),) = of_value(rule, "y").values()

    assert QUOTED_MAX < len(message) < QUOTED_MAX + 50
    assert "…" in message


def test_a_path_is_cut():
    deep: dict[str, Any] = {"n" * 5000: 1}
    schema: dict[str, Any] = {"additionalProperties": {"type": "string"}}
    assert [*compiled(schema).errors(deep)] == [f"additionalData.{'n' * UNKNOWN_NAME_MAX}"]

    for _ in range(10):
        deep, schema = {"n" * 50: deep}, {"additionalProperties": schema}
    ((path, messages),) = compiled(schema).errors(deep).items()
    assert (len(path), messages) == (ERROR_PATH_MAX, [NOT_TEXT])


@pytest.mark.parametrize("keyword", ["type", "additionalProperties", "required"])
def test_errors_are_bounded_in_number(keyword: str):
    names = [f"n{number}" for number in range(60)]
    schema = compiled({
        "type": {"additionalProperties": {"type": "string"}},
        "additionalProperties": {"additionalProperties": False, "properties": {"x": {}}},
        "required": {"required": [name.upper() for name in names]},
    }[keyword])  # fmt: skip

    errors = schema.errors(dict.fromkeys(names, 1))

    assert len(errors) == PATHS_MAX + 1
    assert errors["additionalData"] == [MORE_ERRORS]


def test_of_a_large_value_the_first_error_is_named_alone():
    schema = compiled({"properties": {"a": {"items": {"type": "string"}}, "b": {"type": "string"}}})
    wrong = [1, *["x"] * (VALUES_MAX - 3)]

    # Given as many values as all errors are collected of, then one more
    assert len(schema.errors({"a": wrong, "b": 5})) == 2
    errors = schema.errors({"a": [*wrong, "x"], "b": 5})

    assert errors in (
        {"additionalData.a.0": [NOT_TEXT], "additionalData": [MORE_ERRORS]},
        {"additionalData.b": [NOT_TEXT], "additionalData": [MORE_ERRORS]},
    )
    assert schema.errors({"a": ["x"] * 5000}) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MANY_RULES = {
    "properties": {"a": VEHICLE},
    "patternProperties": {"^[a-m]": {"type": ["string", "object"], "maxLength": 3}},
    "additionalProperties": {"anyOf": [{"type": "integer", "multipleOf": 7}, {"contains": {"const": 1}}]},
    "propertyNames": {"maxLength": 4},
}


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
@settings(max_examples=200)
def test_errors_are_texts_of_ours_for_any_json(data: dict[str, Any]):
    errors = compiled(MANY_RULES).errors(data)

    assert all(path.split(".")[0] == "additionalData" for path in errors)
    assert all(text.startswith(("This ", "The ")) for texts in errors.values() for text in texts)
    assert len(errors) <= PATHS_MAX + 1


def test_no_message_quotes_a_value_of_a_lead():
    secret = "ada@example.com"
    rules_of_all = {
        "a": {"type": "integer", "enum": [1], "pattern": "^x$", "format": "date", "maxLength": 2},
        "b": False,
    }

    errors = compiled({"properties": rules_of_all}).errors({"a": secret, "b": secret})

    assert len(errors["additionalData.a"]) == 5
    assert secret not in json.dumps(errors)


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
