"""The access log: one JSON line for each request on stderr, in the format of schema.runtime.logs."""

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

# Flush interval, seconds: the lines of one interval share one write. A killed process loses them.
LINES_FLUSH_INTERVAL = 0.1


class AccessLog:
    """Collects the lines of one process. Use it from the event loop."""

    def __init__(self, mode: str, write: Callable[[bytes], object] | None = None) -> None:
        """Log `all` requests, only those answered with `errors`, or `none`. `write` defaults to stderr."""
        # Lowest status that is logged.
        self._least = {"all": 0, "errors": 400, "none": 1000}[mode]
        self._write = write or _to_stderr
        self._lines: list[tuple[float, str, str, str, str, int, str, float]] = []

    def note(
        self, request_id: str, user: str, method: str, route: str, status: int, reason: str, seconds: float
    ) -> None:
        """Buffer the line of one answered request.

        `user` is the user's id, never the address; `route` is the template of the path, never the path.
        """
        if status < self._least:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(LINES_FLUSH_INTERVAL, self.flush)
        self._lines.append((time.time(), request_id, user, method, route, status, reason, seconds))

    def flush(self) -> None:
        """Write the buffered lines. Blocks for the write."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(b"".join(_line(*line) for line in lines))


def _line(
    moment: float, request_id: str, user: str, method: str, route: str, status: int, reason: str, seconds: float
) -> bytes:
    return orjson.dumps(
        {
            "request_id": request_id,
            "user": user,
            "method": method,
            "route": route,
            "status": status,
            "reason": reason,
            "milliseconds": round(seconds * 1000, 2),
            "event": "request",
            "level": "info",
            "timestamp": datetime.fromtimestamp(moment, UTC),
            "service": "api",
        },
        option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
    )


def _to_stderr(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()
