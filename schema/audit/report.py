"""The audit trail for reading: a table for people, or JSON lines."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson

from schema.audit.event import Event
from schema.lead import lead_id

HEADINGS = ("time", "action", "user", "client", "parameters", "rows", "subject", "request id")

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_span = re.compile(r"(\d{1,5})([mhd])", re.ASCII)


def start_of(span: str) -> datetime:
    """Return the time that was so long ago, in UTC: "30m", "24h" or "7d". Raises ValueError for anything else."""
    match = _span.fullmatch(span)
    if match is None:
        raise ValueError("a number and m, h or d, such as 24h")
    return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})


def table(events: Sequence[Event]) -> str:
    """Return the events in columns, one on a line, with "-" for what is empty."""
    if not events:
        return "No such event is in the audit trail.\n"
    rows = [HEADINGS, *(_cells(each) for each in events)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def lines(events: Sequence[Event]) -> str:
    """Return the events as JSON, one object on a line."""
    return "".join(orjson.dumps(_object(each)).decode() + "\n" for each in events)


def _cells(event: Event) -> tuple[str, ...]:
    rows = "" if event.row_count is None else str(event.row_count)
    texts = (_time(event), event.action, event.user, event.client, event.parameters, rows, event.subject)
    return tuple(each or "-" for each in (*texts, event.request_id))


def _object(event: Event) -> dict[str, object]:
    return {
        "id": lead_id.to_text(event.id),
        "time": _time(event),
        "action": event.action,
        "user": event.user or None,
        "client": event.client or None,
        "parameters": event.parameters.split(",") if event.parameters else [],
        "rows": event.row_count,
        "subject": event.subject or None,
        "request_id": event.request_id or None,
    }


def _time(event: Event) -> str:
    return event.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
