"""Coalesces an answer's head and body into one write.

uvicorn writes them separately: two system calls, two packets, and a client that is woken up twice
(docs/lab/2026-11-23-the-served-process.md).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Most bytes that are buffered; above that they are written at once.
GATHERED_MAX = 64 * 1024


class CoalescingTransport:
    """A transport that buffers the writes of one event-loop iteration and sends them together.

    It has only the methods that uvicorn's HTTP protocol uses.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._size = 0
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Buffer `data`; it is written at the end of this event-loop iteration at the latest."""
        if not self._gathered:
            self._loop.call_soon(self._write_out)
        self._gathered.append(data)
        self._size += len(data)
        if self._size > GATHERED_MAX:
            self._write_out()

    def close(self) -> None:
        """Write the buffer and close."""
        self._write_out()
        self._transport.close()

    def _write_out(self) -> None:
        if self._gathered:
            data, self._gathered, self._size = b"".join(self._gathered), [], 0
            if not self._transport.is_closing():
                self._transport.write(data)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a CoalescingTransport."""

    def connection_made(self, transport: Any) -> None:
        """Serve a new connection."""
        # It has what uvicorn uses of a transport (ADR 9).
        super().connection_made(CoalescingTransport(transport))  # type: ignore[arg-type]
