"""Redaction: what is said to be a password, token, key or cookie never reaches the request log.

The name decides, wherever it stands: a header's, a parameter's, a key's of JSON at any depth. Most texts hold no such
name; a quick look through the bytes says so, and only the others are taken apart.
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

import orjson

REDACTED = "[redacted]"

# A name that holds one of these, in any case, is that of a secret.
STEMS = ("pass", "pwd", "secret", "token", "auth", "cookie", "credential", "session", "jwt", "key")

# Names that hold one of them and are none.
HARMLESS = ("idempotency-key", "keyword")

# Levels of JSON that are looked through; what is deeper is taken out whole.
DEPTH_MAX = 64

# Names that are remembered, and characters of one; clients could send ever new ones.
_NAMES_MAX = 2000
_NAME_MAX = 64

# What shows that a text may hold such a name: the stems, JSON's way to write any letter otherwise, and the beginning of
# every token of ours.
_SIGNS = (*(stem.encode() for stem in STEMS), b"\\u", b"eyj")

_TOKENS = re.compile(rb"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?", re.ASCII)
_PIECES = re.compile(r"([?&\s])")

# Fields of a log-in that are kept, and characters of its address: as many as an address may have, and some.
_LOGIN_FIELDS = 20
_LOGIN_VALUE = 320

_harmless: set[str] = set()
_headers: dict[str, tuple[str, bool]] = {}


class Unreadable(ValueError):
    """A text that may hold a secret and cannot be taken apart: it must not be kept."""


def is_sensitive(name: str) -> bool:
    """Tell whether a value of that name is a secret."""
    name = name.lower()
    for harmless in HARMLESS:
        name = name.replace(harmless, "")
    return any(stem in name for stem in STEMS)


def is_suspect(text: bytes) -> bool:
    """Tell whether a text may hold the name of a secret. False is certain."""
    low = text.lower()
    return any(sign in low for sign in _SIGNS)


def json_value(content: bytes) -> tuple[Any, bool]:
    """Return the object or array that JSON holds, without secrets, and whether there surely was none.

    The value is None when it is no such JSON.

    Decoding and looking at the names takes a third of the time of searching the text for the stems.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, False
    if not isinstance(value, dict | list):
        return None, False
    # What a string needs to hold an address with parameters, JSON, or a token.
    plain = b"=" not in content and b"\\" not in content and b"eyJ" not in content
    if plain and _is_harmless(value, 0):
        return value, True
    return _plain(value, 0), False


def _is_harmless(value: Any, depth: int) -> bool:
    """Tell whether no name in an object or array is that of a secret."""
    if type(value) is dict:
        if not _harmless.issuperset(value) and not _learn(value):
            return False
        value = value.values()
    for each in value:
        if (type(each) is dict or type(each) is list) and (depth >= DEPTH_MAX or not _is_harmless(each, depth + 1)):
            return False
    return True


def _learn(names: dict[str, Any]) -> bool:
    """Tell whether all these names are harmless, and remember them."""
    if any(map(is_sensitive, names)):
        return False
    if len(_harmless) < _NAMES_MAX:
        _harmless.update(name for name in names if len(name) <= _NAME_MAX)
    return True


def headers(pairs: Iterable[tuple[str, str]]) -> str:
    """Return headers as lines of `name: value`, secret ones redacted."""
    lines = []
    for name, value in pairs:
        known = _headers.get(name)
        start, sensitive = known or _learn_header(name)
        lines.append(start if sensitive else start + value)
    text = "\n".join(lines)
    if "=" in text or "eyJ" in text:
        # Such as the address that the client came from, with parameters.
        return "\n".join(map(parameters, text.split("\n")))
    return text


def _learn_header(name: str) -> tuple[str, bool]:
    """Return how a header's line begins, or the whole line if its value is a secret; and which of both."""
    sensitive = is_sensitive(name)
    known = (f"{name}: {REDACTED}" if sensitive else f"{name}: ", sensitive)
    if len(_headers) < _NAMES_MAX and len(name) <= _NAME_MAX:
        _headers[name] = known
    return known


def parameters(text: str) -> str:
    """Return a query string, or a text with addresses in it, without the values of secret parameters."""
    if "%" not in text and not is_suspect(text.encode()):
        return text
    return without_tokens("".join(map(_parameter, _PIECES.split(text))))


def _parameter(piece: str) -> str:
    name, equals, value = piece.partition("=")
    if not equals:
        return piece
    # Twice: what one server decodes may be handed on to another.
    plain, inner = unquote_plus(unquote_plus(name)), unquote_plus(unquote_plus(value))
    # A value may be an address with parameters of its own, or hold some after a `;`.
    if is_sensitive(plain) or ("=" in inner and is_sensitive(inner)):
        return f"{name}={REDACTED}"
    return piece


def json_text(text: bytes) -> bytes:
    """Return JSON, or lines of JSON, without secrets.

    Raises Unreadable.
    """
    try:
        return _redacted(text)
    except Unreadable:
        lines = [line for line in text.split(b"\n") if line.strip()]
        if len(lines) < 2:
            raise
        return b"\n".join(map(_redacted, lines))


def log_in(text: bytes) -> dict[str, Any]:
    """Return a log-in with the address alone: a password may stand under a mistyped name.

    Raises Unreadable.
    """
    given = _loaded(text)
    if not isinstance(given, dict):
        raise Unreadable
    given = dict(islice(given.items(), _LOGIN_FIELDS))
    return {
        name[:_NAME_MAX]: _plain_text(value)[:_LOGIN_VALUE] if name == "email" and isinstance(value, str) else REDACTED
        for name, value in given.items()
    }


def without_tokens(text: str) -> str:
    """Return a text without what looks like a JWT, whatever its name."""
    return _TOKENS.sub(REDACTED.encode(), text.encode()).decode() if "eyJ" in text else text


def _loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Unreadable from None


def _redacted(text: bytes) -> bytes:
    try:
        return orjson.dumps(_plain(_loaded(text), 0))
    except orjson.JSONEncodeError:
        raise Unreadable from None


def _plain(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        return REDACTED
    if isinstance(value, dict):
        return {
            without_tokens(name): REDACTED if is_sensitive(name) else _plain(each, depth + 1)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    return _plain_text(value) if isinstance(value, str) else value


def _plain_text(text: str) -> str:
    """Redact within a string: JSON that was written as one, addresses, and tokens."""
    data = text.encode()
    if "%" not in text and not is_suspect(data):
        return text
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json_text(data).decode()
        except Unreadable:
            return REDACTED
    return parameters(text)
