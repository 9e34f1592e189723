"""Traces by OpenTelemetry: a process's tracer, its export, and the trace context that an entry carries.

Import it only where LEADS_TRACES_URL is set.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schema import __version__
from schema.runtime import logs
from schema.runtime.trace_headers import TRACEPARENT, TRACESTATE
from schema.settings import Settings

# Longest time (seconds) that a stopping process spends on exporting its last spans.
TRACES_STOP_TIMEOUT = 1.0

# Longest `tracestate` (characters) that is carried: as much as all should carry (W3C Trace Context, 3.3.1.5).
TRACESTATE_MAX = 512

_propagator = TraceContextTextMapPropagator()

log = logs.get(__name__)


class RequestSpan(NamedTuple):
    """The span of a traced request, and what its leads' entries carry of it."""

    span: Span
    carrier: str


class Tracing:
    """The tracer of one process, whose spans a thread exports. Make it after the fork."""

    def __init__(self, service: str, settings: Settings) -> None:
        """Take the name of the service. Connects at the first export, never here."""
        # The exporter below has a line of its own for what fails; the SDK has one for each batch and each try.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry.sdk").setLevel(logging.WARNING)
        # It quotes headers that it cannot parse.
        logging.getLogger("opentelemetry.util").setLevel(logging.CRITICAL)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.traces_ratio)),
            resource=Resource.create({SERVICE_NAME: service, SERVICE_VERSION: __version__}),
            shutdown_on_exit=False,
        )
        exporter = TellingExporter(OTLPSpanExporter(endpoint=settings.traces_endpoint))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("lead-ingest", __version__)

    def stop(self) -> None:
        """Export the last spans, for TRACES_STOP_TIMEOUT seconds at most; what is left then is lost."""
        stopping = threading.Thread(target=self._provider.shutdown, name="traces-stop", daemon=True)
        stopping.start()
        stopping.join(TRACES_STOP_TIMEOUT)


class TellingExporter(SpanExporter):
    """Exports by OTLP, and logs when that begins to fail and when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0  # spans, since it began to fail

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; lose them when the receiver does not take them in time."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                log.warning("traces not exported", spans=len(spans))
            self._lost += len(spans)
        elif self._lost:
            log.warning("traces exported again", lost=self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """End a retry under way."""
        self._exporter.shutdown()


def context_of(traceparent: str | None, tracestate: str | None = None) -> Context:
    """Return the context of these two headers of W3C Trace Context; one without a span when they are malformed."""
    headers = {}
    if traceparent:
        headers[TRACEPARENT] = traceparent
    if tracestate and len(tracestate) <= TRACESTATE_MAX:
        headers[TRACESTATE] = tracestate
    return _propagator.extract(headers, Context())


def carrier_of(span: Span) -> str:
    """Return the span's context as an entry carries it: its traceparent and, after a space, its tracestate if any."""
    headers: dict[str, str] = {}
    _propagator.inject(headers, trace.set_span_in_context(span, Context()))
    state = headers.get(TRACESTATE)
    return f"{headers[TRACEPARENT]} {state}" if state else headers[TRACEPARENT]


def carried(carrier: bytes) -> Context | None:
    """Return the context that an entry carries, or None when it is malformed or not sampled."""
    parent, _, state = carrier.decode("ascii", "replace").partition(" ")
    context = context_of(parent, state)
    return context if trace.get_current_span(context).get_span_context().trace_flags.sampled else None


@contextmanager
def ended(span: Span) -> Iterator[Span]:
    """End the span with the block. Of an exception it keeps the class alone, because a message may quote a lead."""
    try:
        yield span
    except BaseException as error:
        fail(span, type(error).__name__)
        raise
    finally:
        span.end()


def fail(span: Span, reason: str) -> None:
    """Mark a span as failed."""
    span.set_attribute("error.type", reason)
    span.set_status(StatusCode.ERROR)
