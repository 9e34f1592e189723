"""Answers in one write.

uvicorn writes the head of an answer and its body apart: two system calls, two packets, and
a client that is woken up twice. That was a quarter of what a POST cost.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes that wait for what follows them; more is written at once.
GATHERED_MAX = 64 * 1024


class CoalescingTransport:
    """A connection that writes together what it is given within one turn of the event loop.

    It has as much of a transport as uvicorn's HTTP protocol uses.
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
        """Write `data` with what follows it, at the end of this turn at the latest."""
        if not self._gathered:
            self._loop.call_soon(self._write_out)
        self._gathered.append(data)
        self._size += len(data)
        if self._size > GATHERED_MAX:
            self._write_out()

    def close(self) -> None:
        """Write what was gathered, and close."""
        self._write_out()
        self._transport.close()

    def _write_out(self) -> None:
        if self._gathered:
            data, self._gathered, self._size = b"".join(self._gathered), [], 0
            if not self._transport.is_closing():
                self._transport.write(data)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on such a connection."""

    def connection_made(self, transport: Any) -> None:
        """Begin to serve a connection."""
        super().connection_made(CoalescingTransport(transport))  # type: ignore[arg-type]
