"""Redaction: values named like a password, token, key or cookie never reach the request log.

The names are those of headers, of parameters and of JSON keys at any depth. A fast search of the bytes passes most
texts; only the rest are parsed.
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

import orjson

from schema.lead.source import KEY_MARK

REDACTED = "[redacted]"

# A name that contains one of these, in any case, is that of a secret.
STEMS = ("pass", "pwd", "secret", "token", "auth", "cookie", "credential", "session", "jwt", "key")

# Exceptions: names that contain a stem and are no secret.
HARMLESS = ("idempotency-key", "keyword")

# Depth to which JSON is searched; anything deeper is redacted.
DEPTH_MAX = 64

# Most names in the cache, and most characters of one: clients choose the names.
_NAMES_MAX = 2000
_NAME_MAX = 64

# What a JWT and an API key begin with.
_TOKEN_STARTS = ("eyJ", KEY_MARK)

# Signs that a text may hold a secret: a stem, JSON's escape for any letter, or the start of a token, in lower case.
_SIGNS = (*(stem.encode() for stem in STEMS), b"\\u", *(start.lower().encode() for start in _TOKEN_STARTS))

_TOKENS = re.compile(rb"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|%b[a-z2-7]{10}_[\w-]*" % KEY_MARK.encode(), re.ASCII)
_PIECES = re.compile(r"([?&\s])")

# Most fields of a log-in whose names are kept.
_LOGIN_FIELDS = 20

_harmless: set[str] = set()
_headers: dict[str, tuple[str, bool]] = {}


class Unreadable(ValueError):
    """A text that may hold a secret and cannot be parsed: it must not be kept."""


def is_sensitive(name: str) -> bool:
    """Tell whether a value of that name is a secret."""
    name = name.lower()
    for harmless in HARMLESS:
        name = name.replace(harmless, "")
    return any(stem in name for stem in STEMS)


def is_suspect(text: bytes) -> bool:
    """Tell whether a text may hold the name of a secret. False is certain, True is not."""
    low = text.lower()
    return any(sign in low for sign in _SIGNS)


def json_value(content: bytes) -> tuple[Any, bool]:
    """Return the redacted object or array in `content`, and whether it certainly held no secret.

    The value is None when `content` is not a JSON object or array. Decoding and checking the names is faster than
    searching the text for the stems (docs/lab/2026-11-26-behind-the-constants.md).
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, False
    if not isinstance(value, dict | list):
        return None, False
    # Without these no string holds a URL with parameters, nested JSON, or a token.
    plain = b"=" not in content and b"\\" not in content and not any(each.encode() in content for each in _TOKEN_STARTS)
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
    """Tell whether all these names are harmless, and cache them if so."""
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
    if "=" in text or _may_hold_token(text):
        # Such as a Referer with parameters.
        return "\n".join(map(parameters, text.split("\n")))
    return text


def _learn_header(name: str) -> tuple[str, bool]:
    """Return the start of a header's line and False, or the whole redacted line and True; cache it by name."""
    sensitive = is_sensitive(name)
    known = (f"{name}: {REDACTED}" if sensitive else f"{name}: ", sensitive)
    if len(_headers) < _NAMES_MAX and len(name) <= _NAME_MAX:
        _headers[name] = known
    return known


def parameters(text: str) -> str:
    """Redact the secret parameters in a query string or in a text with URLs, and all tokens."""
    if "%" not in text and not is_suspect(text.encode()):
        return text
    return without_tokens("".join(map(_parameter, _PIECES.split(text))))


def _parameter(piece: str) -> str:
    name, equals, value = piece.partition("=")
    if not equals:
        return piece
    # Decoded twice, because one server may pass on what another decodes again.
    plain, inner = unquote_plus(unquote_plus(name)), unquote_plus(unquote_plus(value))
    # A value may be a URL with parameters of its own, or hold some after a `;`.
    if is_sensitive(plain) or ("=" in inner and is_sensitive(inner)):
        return f"{name}={REDACTED}"
    return piece


def json_text(text: bytes) -> bytes:
    """Return JSON, or lines of JSON, redacted.

    Raises Unreadable when it is neither.
    """
    try:
        return _redacted(text)
    except Unreadable:
        lines = [line for line in text.split(b"\n") if line.strip()]
        if len(lines) < 2:
            raise
        return b"\n".join(map(_redacted, lines))


def log_in(text: bytes) -> dict[str, Any]:
    """Return a log-in with every value redacted: a password may stand in the address or under a mistyped name.

    Raises Unreadable when it is not a JSON object.
    """
    given = _loaded(text)
    if not isinstance(given, dict):
        raise Unreadable
    return {name[:_NAME_MAX]: REDACTED for name in islice(given, _LOGIN_FIELDS)}


def without_tokens(text: str) -> str:
    """Redact everything that looks like a JWT or an API key, whatever its name."""
    return _TOKENS.sub(REDACTED.encode(), text.encode()).decode() if _may_hold_token(text) else text


def _may_hold_token(text: str) -> bool:
    return any(start in text for start in _TOKEN_STARTS)


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
    """Redact within a string: nested JSON, URLs with parameters, and tokens."""
    data = text.encode()
    if "%" not in text and not is_suspect(data):
        return text
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json_text(data).decode()
        except Unreadable:
            return REDACTED
    return parameters(text)
