"""Coalesces an answer's head and body into one write.

uvicorn writes them separately: two system calls, two packets, and a client that is woken up twice
(docs/lab/2026-11-23-the-served-process.md).
"""

import asyncio
from collections.abc import Callable

from ingest_api.server.lingering_close import LingeringClose

# Most bytes that are buffered; above that they are written at once.
GATHERED_MAX = 64 * 1024


class CoalescingTransport:
    """A transport that buffers the writes of one event-loop iteration and sends them together.

    It has only the methods that uvicorn's HTTP protocol uses.
    """

    def __init__(self, transport: asyncio.Transport, is_receiving: Callable[[], bool]) -> None:
        """Take a transport, and what tells whether the client has sent a part of a request and not all of it."""
        self._transport = transport
        self._is_receiving = is_receiving
        self.lingering: LingeringClose | None = None  # set while it is being closed under a client that sends
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._size = 0
        self.get_extra_info = transport.get_extra_info
        self.is_closing: Callable[[], bool] = transport.is_closing
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
        """Write the buffer and close, at once or once the client has sent what it is sending."""
        if self.is_closing():
            return
        self._write_out()
        if self._is_receiving() and self._transport.can_write_eof():
            self.lingering = LingeringClose(self._transport)
            self.is_closing = lambda: True
        else:
            self._transport.close()

    def _write_out(self) -> None:
        if self._gathered:
            data, self._gathered, self._size = b"".join(self._gathered), [], 0
            if not self.is_closing():
                self._transport.write(data)
