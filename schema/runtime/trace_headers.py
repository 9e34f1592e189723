"""The headers of W3C Trace Context, by which a request names the trace that it belongs to."""

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
