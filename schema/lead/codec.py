"""Encodes leads as JSON, for the queue and for answers, with times in RFC 3339."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from schema.lead import lead_id
from schema.lead.lead_id import LeadId


def format_time(moment: datetime) -> str:
    """Return a UTC time as RFC 3339 with microseconds and `Z`. A naive datetime is UTC."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode(new_id: LeadId, lead: dict[str, Any]) -> bytes:
    """Encode an accepted lead as JSON: the payload of its stream entry, and with the state the `data` of its 202."""
    second, micros = divmod(lead_id.micros_of(new_id), 1_000_000)
    created = b"%b%06dZ" % (_to_the_second(second), micros)
    fields = orjson.dumps(lead)[1:-1]
    text = lead_id.to_text(new_id).encode()
    return b'{"id":"%b",%b,"createdAt":"%b","updatedAt":"%b"}' % (text, fields, created, created)


@lru_cache(maxsize=64)
def _to_the_second(second: int) -> bytes:
    """Return what `format_time` writes before the digits of the microseconds. Cached for the leads of one second."""
    return format_time(datetime.fromtimestamp(second, UTC)).removesuffix("000000Z").encode()


def with_state(encoded: bytes, state: str) -> bytes:
    """Add the state to a lead encoded by `encode`, without decoding it."""
    return b'%b,"state":"%b"}' % (encoded[:-1], state.encode())
