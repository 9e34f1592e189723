"""The items of a bulk body, found one at a time without decoding them, so that what nobody may send is never built.

An array of a few MiB may hold millions of values: decoding it first would take seconds and some hundred MiB.
"""

import re
from collections.abc import Iterator

from ingest_api.http.body import BODY_MAX, NotJson, not_json

BULK_MAX = 1000  # leads

# Most objects and arrays in a bulk body: fifty for each of a thousand leads. Finding the items takes a step for each
# bracket, about half a microsecond.
NESTED_MAX = 50_000

# Longest item (bytes): the same lead may be sent alone.
ITEM_MAX = BODY_MAX

# Most items whose errors an answer spells out, so that it has some hundred KiB at most.
SPELLED_OUT_MAX = 100
NOT_SPELLED_OUT = f"This lead has errors. An answer spells out those of {SPELLED_OUT_MAX} leads."

Span = tuple[int, int]  # of an item in the body: first byte, byte after the last

_NOT_BLANK = re.compile(rb"\s*+([^\n]++)")
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SCALAR = re.compile(rb'[^][{}",:\s]++|' + _STRING, re.DOTALL)
_TO_BRACKET = re.compile(rb'[^][{}"]*+(?:' + _STRING + rb'[^][{}"]*+)*+([][{}])', re.DOTALL)

TOO_LONG_ITEM = f"A lead should have at most {ITEM_MAX} bytes."

# What orjson says of the same.
UNEXPECTED_CHARACTER = "unexpected character"
UNEXPECTED_END = "unexpected end of data"


class BadItems(ValueError):
    """A body is no array, or holds more than a bulk may; the message says which."""


def of_lines(body: bytes) -> Iterator[Span]:
    """Yield the lines of NDJSON that are not blank."""
    end = 0
    while found := _NOT_BLANK.match(body, end):
        end = found.end()
        yield found.span(1)


def of_array(body: bytes) -> Iterator[Span]:
    """Yield the elements of a JSON array. Whether each is JSON is seen when it is decoded.

    Raises NotJson or BadItems; some elements may have been yielded by then.
    """
    if body.count(b"[") + body.count(b"{") > NESTED_MAX:
        raise BadItems(f"The body should hold at most {NESTED_MAX} objects and arrays.")
    at = _skip_blanks(body, 0)
    if body[at : at + 1] != b"[":
        raise BadItems("This value should be a JSON array of leads.")
    at = _skip_blanks(body, at + 1)
    if body[at : at + 1] == b"]":
        _expect_end(body, at + 1)
        return
    while True:
        end = _end_of(body, at)
        yield at, end
        at = _skip_blanks(body, end)
        mark = body[at : at + 1]
        if mark == b"]":
            _expect_end(body, at + 1)
            return
        if mark != b",":
            raise misplaced(body, at)
        at = _skip_blanks(body, at + 1)


def misplaced(body: bytes, at: int, message: str = "") -> NotJson:
    """Make the error for what stands at offset `at`."""
    message = message or (UNEXPECTED_CHARACTER if at < len(body) else UNEXPECTED_END)
    return not_json(message, body.count(b"\n", 0, at) + 1, at - body.rfind(b"\n", 0, at))


def _skip_blanks(body: bytes, at: int) -> int:
    found = _BLANKS.match(body, at)
    return found.end() if found else at


def _expect_end(body: bytes, at: int) -> None:
    at = _skip_blanks(body, at)
    if at < len(body):
        raise misplaced(body, at)


def _end_of(body: bytes, at: int) -> int:
    """Return the offset behind the value that begins at `at`."""
    most = min(len(body), at + ITEM_MAX)
    found = _SCALAR.match(body, at, most)
    if found:
        return found.end()
    if body[at : at + 1] not in (b"{", b"["):
        raise misplaced(body, at)
    depth, end = 0, at
    while found := _TO_BRACKET.match(body, end, most):
        end = found.end()
        depth += 1 if body[end - 1] in b"[{" else -1
        if not depth:
            return end
    if most < len(body):
        raise BadItems(TOO_LONG_ITEM)
    raise misplaced(body, len(body))
