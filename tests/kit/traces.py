"""A receiver of OTLP over HTTP that decodes what it is sent, for tests that need no real backend."""

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.kit.servers import until

FAILED = trace_pb2.Status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Span:
    """A span as it was exported. Ids are in hexadecimal, times in nanoseconds since 1970."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str  # "": the root
    state: str  # tracestate
    links: tuple[tuple[str, str], ...]  # of the trace and the span
    dropped_links: int
    attributes: dict[str, Any]
    failed: bool
    began: int
    ended: int

    @property
    def place(self) -> tuple[str, str]:
        """What a link to this span holds."""
        return self.trace, self.id


class TraceReceiver:
    """The server. It listens from the beginning of the block to its end."""

    def __init__(self) -> None:
        self.received: list[bytes] = []  # each request's body, decompressed
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                is_right = (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                if is_right:
                    receiver.received.append(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200 if is_right else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> list[Span]:
        """All spans that have come, in their order."""
        return [span for body in list(self.received) for span in _spans(body)]

    def trace(self, trace: str) -> dict[str, Span]:
        """Return the spans of a trace by their names, which must differ."""
        found = [span for span in self.spans if span.trace == trace]
        named = {span.name: span for span in found}
        assert len(named) == len(found), [span.name for span in found]
        return named

    def wait_for(self, trace: str, *names: str, within: float = 20.0) -> dict[str, Span]:
        """Wait until a trace has spans of these names; return its spans by name."""
        until(lambda: {span.name for span in self.spans if span.trace == trace} >= set(names), within, 0.05)
        return self.trace(trace)

    def by_trace(self) -> dict[str, list[Span]]:
        """Return all spans by their traces."""
        found: defaultdict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            found[span.trace].append(span)
        return found


def _spans(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = {each.key: _value(each.value) for each in resource.resource.attributes}["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=service,
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    state=span.trace_state,
                    links=tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links),
                    dropped_links=span.dropped_links_count,
                    attributes={each.key: _value(each.value) for each in span.attributes},
                    failed=span.status.code == FAILED,
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, str(kind))
