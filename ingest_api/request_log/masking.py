"""Masking: of what clients said of persons only the shape is kept, so that an operator sees what was wrong with it.

Of a run of letters the first one and the length stay, of digits the length, and all between them as it is:
"ann.lee@example.org" is kept as "a…3.l…3@e…7.o…3", and "+44 20 7123" as "+…2 …2 …4".
"""

import re
from typing import Any
from urllib.parse import unquote_plus

from ingest_api.request_log import redaction

# Fields of a lead and of a log-in: names that are kept where a text cannot be parsed.
NAMED = ("firstName", "lastName", "email", "phone", "dateOfBirth", "additionalData", "password")

# Parameters whose values say nothing of a person.
HARMLESS_PARAMETERS = frozenset(
    (
        *("page", "limit", "cursor", "after", "sortBy", "sortOrder", "createdFrom", "createdTo"),
        *("from", "to", "interval", "format", "wait"),
    )
)

# Names in our own answers whose values say nothing of a person.
HARMLESS_ANSWERS = frozenset(
    (
        *("status", "code", "message", "errors", "retry_after"),
        *("id", "state", "createdAt", "updatedAt", "index", "letter", "reason", "since"),
        *("accepted", "rejected", "stored", "total", "page", "limit", "total_pages", "next_cursor"),
        *("from", "to", "interval", "source"),
    )
)

_KEPT_WORDS = frozenset((*NAMED, "true", "false", "null", redaction.REDACTED.strip("[]")))

# Letters beyond ASCII count as such, with what is combined with them.
_RUN = re.compile(r"(?:[0-9A-Za-z_]|[^\x00-\x7f])+")
_LETTERS_MIN = 3

# A name that a program has chosen, in a bulk request behind the number of its lead.
_IDENTIFIER = re.compile(r"(?:\d{1,4}\.)?[A-Za-z_][A-Za-z0-9_.\[\]-]{0,63}", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_DIGITS_MIN = 7  # of a telephone number
_ADDRESS = re.compile(r"[^\s\"'<>,;:=&?/]+(?:@|%40)[^\s\"'<>,;=&?/]+")
# Without these there is nothing to mask in a header.
_SIGNS = ("@", "%", *(f"{each.lower()}=" for each in NAMED))
_PIECES = re.compile(r"([?&\s;])")


def masked(text: str) -> str:
    """Mask a text."""
    return text if text == redaction.REDACTED else _RUN.sub(_masked_run, text)


def _masked_run(found: re.Match[str]) -> str:
    run = found[0]
    first = run[0] if len(run) >= _LETTERS_MIN and run[0].isalpha() else ""
    return f"{first}…{len(run)}"


def body(value: Any) -> Any:
    """Mask a request's body as the request log keeps it: JSON, a text, or None.

    Names stay where they look like names, and so does what is neither text nor number.
    """
    if isinstance(value, str):
        return _unparsed(value)
    return _masked_json(value, 0, frozenset())


def answer(value: Any) -> Any:
    """Mask an answer of ours as the request log keeps it. Messages and numbers of ours stay."""
    if isinstance(value, str):
        return _unparsed(value)
    return _masked_json(value, 0, HARMLESS_ANSWERS)


def query(text: str) -> str:
    """Mask the values of a query string, but those of HARMLESS_PARAMETERS."""
    pieces = []
    for piece in text.split("&"):
        name, equals, value = piece.partition("=")
        if equals and name not in HARMLESS_PARAMETERS and value != redaction.REDACTED:
            piece = f"{_name(unquote_plus(name))}={masked(unquote_plus(value))}"
        elif not equals:
            piece = _name(unquote_plus(piece))
        pieces.append(piece)
    return "&".join(pieces)


def path(text: str) -> str:
    """Mask the parts of a path that may be an address or a number."""
    return "/".join(map(_segment, text.split("/")))


def headers(text: str) -> str:
    """Mask addresses in headers, and the parameters of a URL in them that are named like a lead's fields."""
    low = text.lower()
    if not any(each in low for each in _SIGNS):
        return text
    return "".join(map(_parameter, _PIECES.split(text)))


def _parameter(piece: str) -> str:
    name, equals, value = piece.partition("=")
    if equals and any(each.lower() in unquote_plus(name).lower() for each in NAMED) and value != redaction.REDACTED:
        return f"{name}={masked(unquote_plus(value))}"
    return _ADDRESS.sub(lambda found: masked(unquote_plus(found[0])), piece)


def _segment(text: str) -> str:
    text = redaction.without_tokens(text)
    is_number = text.isdigit() and len(text) >= _DIGITS_MIN
    return text if not text or (_SEGMENT.fullmatch(text) and not is_number) else masked(text)


def _name(text: str) -> str:
    return text if _IDENTIFIER.fullmatch(text) else masked(text)


def _unparsed(text: str) -> str:
    return _RUN.sub(lambda found: found[0] if found[0] in _KEPT_WORDS else _masked_run(found), text)


def _masked_json(value: Any, depth: int, harmless: frozenset[str]) -> Any:
    if depth > redaction.DEPTH_MAX:
        return redaction.REDACTED
    if isinstance(value, dict):
        return {
            _name(name): _errors(each)
            if name == "errors" and harmless
            else each
            if name in harmless and not isinstance(each, dict | list)
            # What is in there has the client's names, whatever they are.
            else _masked_json(each, depth + 1, frozenset() if name == "additionalData" else harmless)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_masked_json(each, depth + 1, harmless) for each in value]
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, bool) or value is None:
        return value
    return masked(str(value))


def _errors(value: Any) -> Any:
    """Keep our own messages, which quote no value; the names of fields are the client's."""
    if isinstance(value, dict):
        return {_name(name): _errors(each) for name, each in value.items()}
    return value
