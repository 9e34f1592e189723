"""The API's spans: of each request to /api, and of each flush. Import it only where LEADS_TRACES_URL is set.

Names and attributes are OpenTelemetry's, without those that may hold personal data: path, query, client address, user
agent.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from falcon.asgi import Response
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind

from ingest_api.http.context import Request
from ingest_api.intake.append import AppendRequest
from ingest_api.intake.group_commit import untraced
from schema.queue.keys import STREAM
from schema.runtime import tracing
from schema.runtime.trace_headers import TRACEPARENT, TRACESTATE
from schema.runtime.tracing import RequestSpan, Tracing
from schema.settings import Settings


class Traces:
    """Middleware that makes the requests' spans: as the first one it is the first to begin and the last to end.

    Make it after the fork.
    """

    def __init__(self, settings: Settings) -> None:
        self._tracing = Tracing("lead-ingest-api", settings)
        self._tracer = self._tracing.tracer

    async def process_request(self, req: Request, resp: Response) -> None:
        """Begin a span, in the trace of the request's `traceparent` when it has a valid one."""
        if not req.path.startswith("/api"):
            return
        parent = tracing.context_of(req.get_header(TRACEPARENT), req.get_header(TRACESTATE))
        attributes = {"http.request.method": req.method, "url.scheme": req.scheme}
        span = self._tracer.start_span(req.method, parent, SpanKind.SERVER, attributes)
        if span.is_recording():
            req.context.span = RequestSpan(span, tracing.carrier_of(span))

    async def process_response(self, req: Request, resp: Response, resource: Any, succeeded: bool) -> None:
        """End the span, with the route's template, the status and the request id."""
        if req.context.span is None:
            return
        span = req.context.span.span
        status = resp.status_code
        attributes: dict[str, str | int] = {"http.response.status_code": status, "request.id": req.context.request_id}
        if req.uri_template:
            attributes["http.route"] = req.uri_template
            span.update_name(f"{req.method} {req.uri_template}")
        span.set_attributes(attributes)
        if status >= 500:
            tracing.fail(span, req.context.reason or str(status))
        span.end()

    def flush(self, requests: Iterable[AppendRequest]) -> AbstractContextManager[object]:
        """Return the span of a flush, if it has traced requests; it ends with the block.

        It is a child of the first of them and linked to the others, which are linked to it: OpenTelemetry's conventions
        for a batch of messages that is sent. (Of a parent that is linked, too, Jaeger shows the link alone.)
        """
        spans, leads = [], 0
        for request in requests:
            leads += len(request.leads)
            if request.span is not None:
                spans.append(request.span.span)
        if not spans:
            return untraced(())
        first, *others = spans
        attributes: dict[str, str | int] = {
            "messaging.system": "redis",
            "messaging.operation.name": "flush",
            "messaging.operation.type": "send",
            "messaging.destination.name": STREAM,
            "messaging.batch.message_count": leads,
        }
        links = [Link(each.get_span_context()) for each in others]
        parent = trace.set_span_in_context(first, Context())
        span = self._tracer.start_span(f"flush {STREAM}", parent, SpanKind.CLIENT, attributes, links)
        for each in others:
            each.add_link(span.get_span_context())
        return tracing.ended(span)

    def stop(self) -> None:
        """Export the last spans; see Tracing.stop."""
        self._tracing.stop()
