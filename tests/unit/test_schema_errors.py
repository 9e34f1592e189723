"""schema.lead.schema_errors: what a source's schema says of its leads, in bounded sentences of ours."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.lead.additional_data import VALUES_MAX
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
from tests.unit.own_schemas import VEHICLE, compiled, of_value


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
