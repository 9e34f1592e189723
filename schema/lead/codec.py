"""Encodes leads as JSON, for the queue and for answers, with times in RFC 3339, and decodes what clients send."""

import contextlib
import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from schema.lead import lead_id
from schema.lead.lead_id import LeadId

# An integer that may not fit into 64 bits, or a text that looks like one: 19 digits behind what a value may follow.
_LONG_INTEGER = re.compile(rb"[:,\[]\s*+-?[0-9]{19}")

# What a longer integer stands for: any that orjson refuses to write.
TOO_LONG = 1 << 64


def decode(text: bytes) -> Any:
    """Decode JSON as orjson does, but integers that do not fit into 64 bits stay such, which orjson.dumps refuses.

    orjson itself rounds them to floats. Raises orjson.JSONDecodeError.
    """
    value = orjson.loads(text)
    if _LONG_INTEGER.search(text):
        # What is nested too deep for the standard library is too deep for a lead, whatever its integers.
        with contextlib.suppress(RecursionError):
            return json.loads(text, parse_int=_integer)
    return value


def _integer(digits: str) -> int:
    # int() of more than some thousand digits raises ValueError.
    return int(digits) if len(digits) <= 20 else TOO_LONG


def format_time(moment: datetime) -> str:
    """Return a UTC time as RFC 3339 with microseconds and `Z`. A naive datetime is UTC."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode(new_id: LeadId, lead: dict[str, Any], source: str = "") -> bytes:
    """Encode an accepted lead as JSON: the payload of its stream entry, and with the state the `data` of its 202.

    `source` is the name of the one that sent it, "" for a user.
    """
    return encode_fields(new_id, orjson.dumps(lead), source)


def encode_fields(new_id: LeadId, lead: bytes, source: str = "") -> bytes:
    """Do what `encode` does for fields that are JSON already."""
    second, micros = divmod(lead_id.micros_of(new_id), 1_000_000)
    created = b"%b%06dZ" % (_to_the_second(second), micros)
    text = lead_id.to_text(new_id).encode()
    # A source's name has no character that JSON escapes.
    sent = b',"source":"%b"' % source.encode() if source else b""
    return b'{"id":"%b",%b,"createdAt":"%b","updatedAt":"%b"%b}' % (text, lead[1:-1], created, created, sent)


@lru_cache(maxsize=64)
def _to_the_second(second: int) -> bytes:
    """Return what `format_time` writes before the digits of the microseconds. Cached for the leads of one second."""
    return format_time(datetime.fromtimestamp(second, UTC)).removesuffix("000000Z").encode()


def with_duplicate(encoded: bytes, first: LeadId) -> bytes:
    """Add to a lead encoded by `encode` the id of its person's first lead. append.lua does the same."""
    return b'%b,"duplicateOf":"%b"}' % (encoded[:-1], lead_id.to_text(first).encode())


def with_state(encoded: bytes, state: str) -> bytes:
    """Add the state to a lead encoded by `encode`, without decoding it."""
    return b'%b,"state":"%b"}' % (encoded[:-1], state.encode())
