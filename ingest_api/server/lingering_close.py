"""Closes a connection whose client is still sending, so that it gets to read its answer.

Closed with something unread, a connection is reset, and what the client has not read yet is gone
(RFC 9112, section 9.6). So the end is announced first, and what comes is read and dropped.
"""

import asyncio

# Most bytes that are dropped, and longest time (seconds) spent on it, in all and without a byte: a client on its way
# through a body of 32 MiB at 10 Mbit/s is done. The times are nginx's own.
LINGER_MAX = 32 * 1024 * 1024
LINGER_TIME = 30.0
LINGER_IDLE = 5.0


class LingeringClose:
    """One connection that is being closed. The transport must have written all that is to be read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Say that nothing more comes, and read on."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._left = LINGER_MAX
        self._end = self._loop.time() + LINGER_TIME
        self._idle = False
        transport.write_eof()
        transport.resume_reading()
        self._timer = self._loop.call_later(LINGER_IDLE, self._check)

    def drop(self, data: bytes) -> None:
        """Drop what the client still sent."""
        self._idle = False
        self._left -= len(data)
        if self._left < 0:
            self.end()

    def end(self) -> None:
        """Close for good. It may have been closed."""
        self._timer.cancel()
        self._transport.close()

    def _check(self) -> None:
        if self._idle or self._loop.time() >= self._end:
            self.end()
            return
        self._idle = True
        self._timer = self._loop.call_later(LINGER_IDLE, self._check)
