"""schema.lead.rules and codec: additional data is any JSON, up to a depth, a size and integers of 64 bits."""

from typing import Any

import orjson
import pytest

from schema.lead import codec, rules
from schema.lead.rules import NOT_OBJECT
from tests.unit.lead_rules import VALID, errors_of


def nested(levels: int) -> Any:
    """Return an object nested so many levels deep."""
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_additional_data_may_be_absent_or_null():
    absent = {name: value for name, value in VALID.items() if name != "additionalData"}

    assert rules.validate(absent)["additionalData"] is None
    assert rules.validate(VALID | {"additionalData": None})["additionalData"] is None


@pytest.mark.parametrize("value", [{}, {"a": [1, 1.5, None, True, {"b": "ü\x00"}]}, {"": {"": ""}}])
def test_additional_data_may_hold_any_json(value: object):
    assert rules.validate(VALID | {"additionalData": value})["additionalData"] == value


@pytest.mark.parametrize("value", ["text", 1, True, [], [{}]])
def test_additional_data_that_is_no_object_is_refused(value: object):
    assert errors_of(VALID | {"additionalData": value}) == {"additionalData": [NOT_OBJECT]}


def test_additional_data_is_at_most_16_levels_deep():
    assert rules.validate(VALID | {"additionalData": nested(16)})
    message = "This value should be at most 16 levels deep."
    assert errors_of(VALID | {"additionalData": nested(17)}) == {"additionalData": [message]}
    assert errors_of(VALID | {"additionalData": nested(1000)}) == {"additionalData": [message]}
    lists: Any = []
    for _ in range(20):
        lists = [lists]
    assert errors_of(VALID | {"additionalData": {"a": lists}}) == {"additionalData": [message]}


@pytest.mark.parametrize("character", ["a", "ü", "😀"])
def test_additional_data_is_at_most_16_kib_as_json(character: str):
    room = 16 * 1024 - len('{"a":""}')
    size = len(character.encode())
    longest = {"a": character * (room // size) + "x" * (room % size)}
    assert len(orjson.dumps(longest)) == 16 * 1024

    assert rules.validate(VALID | {"additionalData": longest})["additionalData"] == longest
    message = "This value should be at most 16384 bytes as JSON."
    assert errors_of(VALID | {"additionalData": {"a": longest["a"] + "x"}}) == {"additionalData": [message]}


WIDEST = [2**64 - 1, -(2**63), 2**63, 1234567890123456789]
TOO_WIDE = ["18446744073709551616", "-9223372036854775809", "20000000000000000000", "1" + "0" * 30, "-1" + "0" * 300]


@pytest.mark.parametrize("value", WIDEST)
def test_an_integer_of_64_bits_stays_what_it_is(value: int):
    text = orjson.dumps(VALID | {"additionalData": {"a": [value]}})

    assert rules.validate(codec.decode(text))["additionalData"] == {"a": [value]}


@pytest.mark.parametrize("number", TOO_WIDE, ids=["2^64", "-2^63-1", "2e19", "1e30", "-1e300"])
@pytest.mark.parametrize("before", ['{"a":', '{"a": \n ', '{"a":[1,', '{"a":{"b":[ '])
def test_an_integer_over_64_bits_is_refused_wherever_it_stands(number: str, before: str):
    closing = "".join({"{": "}", "[": "]"}[each] for each in reversed(before) if each in "{[")
    text = f'{orjson.dumps(VALID).decode()[:-1]}, "additionalData": {before}{number}{closing}}}'

    message = "Integers in this value should fit into 64 bits."
    assert errors_of(codec.decode(text.encode())) == {"additionalData": [message]}


@pytest.mark.parametrize(
    "value", ["1" * 40, {"n": 0.1234567890123456789012}, {"n": 12345678901234567890.5}, {"n": 1e30}, "," + "9" * 25]
)
def test_texts_and_fractions_may_have_any_number_of_digits(value: object):
    lead = VALID | {"additionalData": {"a": value}}

    assert rules.validate(codec.decode(orjson.dumps(lead)))["additionalData"] == {"a": value}


def test_what_is_nested_too_deep_is_said_to_be_so_whatever_its_integers():
    text = b'{"a":' * 1000 + b"99999999999999999999999" + b"}" * 1000

    assert errors_of(VALID | {"additionalData": codec.decode(text)}) == {
        "additionalData": ["This value should be at most 16 levels deep."]
    }
