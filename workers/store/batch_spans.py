"""The spans of a batch. Import it only where there are traces."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from schema.database.tables import leads
from schema.lead import lead_id
from schema.queue.entries import Entry, id_of
from schema.queue.keys import STREAM
from schema.runtime import tracing
from workers.store.batch_trace import BatchTrace, TraceBatch, untraced
from workers.store.consumer import Claimed

# Most lead ids in the span of a bulk request.
LEAD_IDS_MAX = 100


def batch_spans(tracer: Tracer, system: str) -> TraceBatch:
    """Return what makes the spans of a batch that has traced leads. `system` is the database's name in SQLAlchemy.

    Each traced request gets a span in its own trace, from the claim until its leads are acknowledged. The batch is a
    child of the first of them, linked to all requests; the others are linked to it. The SDK keeps the last 128 links
    (OTEL_SPAN_LINK_COUNT_LIMIT) and counts the others.
    """

    def begin(claimed: Claimed, began: int) -> BatchTrace:
        requests: dict[bytes, list[Entry]] = {}
        for entry in (*claimed.entries, *claimed.retry_alone, *claimed.exhausted):
            if entry.trace:
                requests.setdefault(entry.trace, []).append(entry)
        parents = {carrier: context for carrier in requests if (context := tracing.carried(carrier)) is not None}
        if not parents:
            return untraced(claimed, began)
        return _BatchSpans(tracer, system, began, len(claimed), [(parents[each], requests[each]) for each in parents])

    return begin


class _BatchSpans(BatchTrace):
    def __init__(
        self, tracer: Tracer, system: str, began: int, size: int, requests: list[tuple[Context, list[Entry]]]
    ) -> None:
        self._tracer = tracer
        self._system = system
        spans = [_store_span(tracer, began, *each) for each in requests]
        attributes: dict[str, str | int] = {
            "messaging.system": "redis",
            "messaging.operation.name": "batch",
            "messaging.operation.type": "process",
            "messaging.destination.name": STREAM,
            "messaging.batch.message_count": size,
            "batch.traced_requests": len(requests),
        }
        links = [Link(trace.get_current_span(parent).get_span_context()) for parent, _ in requests]
        first = trace.set_span_in_context(spans[0], Context())
        self._batch = tracer.start_span(f"batch {STREAM}", first, SpanKind.INTERNAL, attributes, links, began)
        self._in_batch = trace.set_span_in_context(self._batch, Context())
        for span in spans[1:]:
            span.add_link(self._batch.get_span_context())
        # By the name of an entry; entries of one bulk share a span.
        self._open = {entry.name: span for span, (_, entries) in zip(spans, requests, strict=True) for entry in entries}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            tracing.fail(self._batch, kind.__name__)
        self._batch.end()
        for span in set(self._open.values()):
            if kind is not None:
                tracing.fail(span, kind.__name__)
            span.end()
        self._open.clear()

    def insert(self, rows: int) -> AbstractContextManager[object]:
        attributes: dict[str, str | int] = {
            "db.system.name": self._system,
            "db.operation.name": "INSERT",
            "db.collection.name": leads.name,
            "db.operation.batch.size": rows,
        }
        span = self._tracer.start_span(f"INSERT {leads.name}", self._in_batch, SpanKind.CLIENT, attributes)
        return tracing.ended(span)

    def acknowledged(self, entries: Iterable[Entry]) -> None:
        self._end({span for entry in entries if (span := self._open.pop(entry.name, None)) is not None})

    def dead_letter(self, entry: Entry) -> None:
        span = self._open.pop(entry.name, None)
        if span is not None:
            tracing.fail(span, "dead_letter")
            self._end({span})

    def _end(self, spans: set[Span]) -> None:
        """End those of the spans of which no entry is left."""
        for span in spans - set(self._open.values()):
            span.end()


def _store_span(tracer: Tracer, began: int, parent: Context, entries: list[Entry]) -> Span:
    ids = [lead_id.to_text(lead) for entry in entries[:LEAD_IDS_MAX] if (lead := id_of(entry.payload))]
    attributes: dict[str, str | int | list[str]] = {
        "messaging.system": "redis",
        "messaging.operation.name": "store",
        "messaging.operation.type": "process",
        "messaging.destination.name": STREAM,
    }
    if len(entries) == 1:
        name = "store lead"
        attributes["lead.id"] = ids[0] if ids else ""
    else:
        name = "store leads"
        attributes["lead.ids"] = ids
        attributes["messaging.batch.message_count"] = len(entries)
    return tracer.start_span(name, parent, SpanKind.CONSUMER, attributes, start_time=began)
