"""Leads that are sent in a trace, and the names of the spans on their way."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import Service

POST, BULK = "POST /api/leads", "POST /api/leads/bulk"
FLUSH, STORE, BATCH, INSERT = "flush leads:stream", "store lead", "batch leads:stream", "INSERT leads"

# Interval, milliseconds, of the exports.
OFTEN = "100"


@contextmanager
def exporting(milliseconds: str) -> Iterator[None]:
    """Let services that start in the block export at this interval."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", milliseconds)
        yield


def a_parent(*, sampled: bool = True) -> tuple[str, str, str]:
    """Return a new trace, the span in it that sends a request, and the header that names both."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{sampled:02d}"


def send(service: Service, traceparent: str, lead: object = None, **headers: str) -> str:
    """Send one lead; return its id."""
    answer = service.post("/api/leads", lead or a_lead(), traceparent=traceparent, **headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["data"]["id"])
