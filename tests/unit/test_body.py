"""ingest_api.http.body: what is JSON, and what a client is told of what is not."""

import pytest

from ingest_api.http import body
from ingest_api.http.body import NotJson


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"{}", {}),
        (b' {"a": [1, 1.5, null, true, "\\u00fc"]} \n', {"a": [1, 1.5, None, True, "ü"]}),
        ('"ü😀"'.encode(), "ü😀"),
        (b"1", 1),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"null", None),
    ],
)
def test_json_is_decoded(content: bytes, value: object):
    assert body.decode(content) == value


@pytest.mark.parametrize("content", [b"", b" ", b"\n\t "])
def test_an_empty_body_is_said_to_be_empty(content: bytes):
    with pytest.raises(NotJson, match="empty"):
        body.decode(content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"{}{}", b"{'a': 1}", b"NaN", b"Infinity", b"-Infinity", b"[1,]", b"01", b"undefined", b"\x00"),
        *(b'"\xff"', b'"\\ud800"', b'"\x01"', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"a=1&b=2"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_not_json_is_said_to_be_so_with_its_place(content: bytes):
    with pytest.raises(NotJson, match=r"^The body is not valid JSON: .*line \d+ column \d+\.$"):
        body.decode(content)


def test_what_is_wrong_is_told_without_quoting_the_body():
    with pytest.raises(NotJson) as caught:
        body.decode(b'{"email": "ada@example.com", }')

    assert "ada@example.com" not in str(caught.value)
