"""uvicorn's HTTP protocol, with heads of a bounded size and time, and errors of its own in the envelope."""

import asyncio
import os
import sys
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest_api import metrics
from ingest_api.server.coalescing_transport import CoalescingTransport
from schema.lead.lead_id import to_text

# Largest head, bytes: as much as nginx takes in the production form (large_client_header_buffers).
HEAD_MAX = 64 * 1024

# Longest time (seconds) from a connection's beginning, or from a further request's first byte, to the end of the head.
HEAD_TIMEOUT = 15.0

# Refusals of what is no request yet: status and reason phrase, message, code of the metric.
MALFORMED = (b"400 Bad Request", "The request is not valid HTTP.", "bad_http")
UNKNOWN_METHOD = (b"405 Method Not Allowed", "Method Not Allowed", "unknown_method")
TOO_SLOW = (b"408 Request Timeout", "The head took too long to arrive.", "head_timeout")
TOO_LARGE = (b"431 Request Header Fields Too Large", f"The head is over {HEAD_MAX} bytes.", "head_too_large")


class Protocol(HttpToolsProtocol):
    """One connection, on a CoalescingTransport."""

    def connection_made(self, transport: Any) -> None:
        """Serve a new connection."""
        self._in_message = False  # between a request's first byte and its last
        self._in_head = False
        self._heads = 0  # heads that have begun
        self._head_size = 0  # bytes of the head that is not whole yet
        self._connection = CoalescingTransport(transport, self._is_receiving)
        self._head_timer: asyncio.TimerHandle | None = None
        # It has what uvicorn uses of a transport (ADR 9).
        super().connection_made(self._connection)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_head_timer()
        if self._connection.lingering is not None:
            self._connection.lingering.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, or drop it when the connection is being closed."""
        if self._connection.lingering is not None:
            self._connection.lingering.drop(data)
            return
        if self._head_size + len(data) > HEAD_MAX and (self._in_head or not self._in_message):
            left = HEAD_MAX - self._head_size
            self._parse(data[:left])
            if self._head_size >= HEAD_MAX:
                self._refuse(*TOO_LARGE)
            if self.transport.is_closing():
                return
            data = data[left:]
        self._parse(data)

    def on_message_begin(self) -> None:
        """Note that a request begins. httptools calls it."""
        self._in_message = self._in_head = True
        self._heads += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a head is whole. httptools calls it."""
        self._in_head = False
        self._head_size = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request is whole. httptools calls it."""
        self._in_message = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what httptools cannot read. uvicorn calls it while it handles httptools' exception."""
        unknown = isinstance(sys.exc_info()[1], httptools.HttpParserInvalidMethodError)
        self._refuse(*(UNKNOWN_METHOD if unknown else MALFORMED))

    def _parse(self, data: bytes) -> None:
        head = self._heads + (not self._in_head)  # the one that `data` goes on with, or begins with
        super().data_received(data)
        if self._in_head:
            # Where in `data` a later head of a pipeline began is not known: it counts from the next data on.
            self._head_size = self._head_size + len(data) if head == self._heads else 0
            self._await_head()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(*TOO_SLOW)
        else:
            self.transport.close()

    def _is_receiving(self) -> bool:
        return self._in_message

    def _refuse(self, status: bytes, message: str, reason: str) -> None:
        """Answer in the envelope and close; only close while an earlier request is being answered."""
        self._stop_head_timer()
        self._in_message = True  # whatever follows is not read any more
        if self.transport.is_closing():
            return
        metrics.REJECTED.labels(reason).inc()
        if self.cycle is None or self.cycle.response_complete:
            code = int(status[:3])
            body = orjson.dumps({"status": "error", "code": code, "message": message})
            lines = [
                b"HTTP/1.1 " + status,
                b"content-type: application/json",
                b"content-length: %d" % len(body),
                b"x-request-id: " + to_text(os.urandom(16)).encode(),
                b"connection: close",
            ]
            if code == 405:
                lines.append(b"allow: GET, HEAD, POST, OPTIONS")
            self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()
