"""ingest_api.http.items: the items of a bulk body, found without decoding them."""

import itertools
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.http import items
from ingest_api.http.body import NotJson
from ingest_api.http.items import BULK_MAX, ITEM_MAX, NESTED_MAX, BadItems

MIB = 1024 * 1024

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def split(body: bytes) -> list[Any]:
    """Return the decoded elements, as a bulk request gets them."""
    return [orjson.loads(body[start:end]) for start, end in items.of_array(body)]


@given(st.lists(values), st.booleans())
def test_an_array_is_split_into_what_decoding_it_gives(array: list[Any], pretty: bool):
    body = orjson.dumps(array, option=orjson.OPT_INDENT_2 if pretty else None)

    assert split(body) == orjson.loads(body)


@given(st.lists(st.sampled_from([*'[]{},:" \n1-.eE\\tn', "true", "null", '""', '"a"', "\\u00e9", "é"]), max_size=30))
def test_what_is_split_and_decoded_is_json_and_what_is_not_is_refused(tokens: list[str]):
    body = f"[{''.join(tokens)}".encode()
    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises((NotJson, orjson.JSONDecodeError)):
            split(body)
    else:
        assert split(body) == expected


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b"\n[\t]\r\n"])
def test_an_empty_array_has_no_items(body: bytes):
    assert split(body) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1,]", "unexpected character: line 1 column 4"),
        (b"[1\n 2]", "unexpected character: line 2 column 2"),
        (b"[{}", "unexpected end of data: line 1 column 4"),
        (b"[{", "unexpected end of data: line 1 column 3"),
        (b"[1] 2", "unexpected character: line 1 column 5"),
        (b"[", "unexpected end of data: line 1 column 2"),
    ],
)
def test_what_is_no_array_is_said_to_be_so_with_its_place(body: bytes, message: str):
    with pytest.raises(NotJson, match=message):
        split(body)


@pytest.mark.parametrize("body", [b"{}", b"null", b"5", b"x", b'"[]"'])
def test_an_array_is_asked_for(body: bytes):
    with pytest.raises(BadItems, match="JSON array"):
        split(body)


def test_ndjson_is_split_at_line_feeds_and_blank_lines_do_not_count():
    content = b'{"a":1}\r\n\n  \n{"b":"\xe2\x80\xa8"}\n'

    assert [orjson.loads(content[start:end]) for start, end in items.of_lines(content)] == [{"a": 1}, {"b": "\u2028"}]


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n"])
def test_blank_ndjson_has_no_items(content: bytes):
    assert list(items.of_lines(content)) == []


def test_more_objects_and_arrays_than_leads_have_are_refused_before_any_is_looked_at():
    with pytest.raises(BadItems, match=str(NESTED_MAX)):
        next(items.of_array(b"[" + b"[]," * NESTED_MAX + b"[]]"))

    assert len(list(items.of_array(b"[" + b"[]," * (NESTED_MAX - 2) + b"[]]"))) == NESTED_MAX - 1


def test_an_item_is_as_long_as_a_lead_alone_may_be():
    longest = b'{"a":"' + b"x" * (ITEM_MAX - 8) + b'"}'
    assert [end - start for start, end in items.of_array(b"[1," + longest + b"]")] == [1, ITEM_MAX]

    with pytest.raises(BadItems, match=str(ITEM_MAX)):
        list(items.of_array(b"[" + longest[:-2] + b'x"},1]'))


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * (4 * MIB - 2) + b"1]",
        b'["' + b'","' * (8 * MIB // 3 - 1) + b'"]',
        b'[["' + b'","' * (8 * MIB // 3 - 2) + b'"]]',
        b"[" + b" " * (8 * MIB - 2) + b"]",
        b"[" + b"[" * (NESTED_MAX - 1),
        b'["' + b"\\" * (8 * MIB - 2),
        b'[{"a":"' + b'\\"' * (4 * MIB - 5),
    ],
    ids=["numbers", "strings", "nested strings", "blanks", "open", "backslashes", "escapes"],
)
def test_no_body_takes_long_until_it_is_known_to_be_refused(body: bytes):
    assert len(body) <= 8 * MIB
    begun = time.process_time()

    try:
        found = len(list(itertools.islice(items.of_array(body), BULK_MAX + 1)))
    except (NotJson, BadItems):
        found = 0

    assert found in (0, BULK_MAX + 1)
    assert time.process_time() - begun < 0.5


def test_no_ndjson_takes_long_until_it_is_known_to_be_refused():
    begun = time.process_time()

    for body in (b"\n" * 8 * MIB, b"1\n" * 4 * MIB, b"x" * 8 * MIB):
        assert len(list(itertools.islice(items.of_lines(body), BULK_MAX + 1))) in (0, 1, BULK_MAX + 1)

    assert time.process_time() - begun < 1
