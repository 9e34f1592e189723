"""The access log: one JSON line a request on stderr, in the form of all other lines (schema.runtime.logs)."""

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

# Seconds that lines wait for others: one write for all of them. A process that is killed takes that much with it.
LINES_FLUSH_INTERVAL = 0.1


class AccessLog:
    """Collects the lines of one process. Use it from the event loop."""

    def __init__(self, mode: str, write: Callable[[bytes], object] | None = None) -> None:
        """Keep lines of `all` requests, of those answered with `errors`, or of `none`. `write` is stderr by default."""
        # The least status that is written down.
        self._least = {"all": 0, "errors": 400, "none": 1000}[mode]
        self._write = write or _to_stderr
        self._lines: list[tuple[float, str, str, str, int, str, float]] = []

    def note(self, request_id: str, method: str, route: str, status: int, reason: str, seconds: float) -> None:
        """Note one answered request. `route` is the template of its path, never the path."""
        if status < self._least:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(LINES_FLUSH_INTERVAL, self.flush)
        self._lines.append((time.time(), request_id, method, route, status, reason, seconds))

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(b"".join(_line(*line) for line in lines))


def _line(moment: float, request_id: str, method: str, route: str, status: int, reason: str, seconds: float) -> bytes:
    return orjson.dumps(
        {
            "request_id": request_id,
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
