"""ingest_api.http.access_log: one line a request, in the form of the other logs, written together."""

import asyncio
import json
from typing import Any

import pytest

from ingest_api.http.access_log import AccessLog


def written(mode: str, *statuses: int) -> list[list[dict[str, Any]]]:
    """Note requests that were answered with these statuses; return the lines of each write."""
    writes: list[bytes] = []

    async def main() -> None:
        log = AccessLog(mode, writes.append)
        for number, status in enumerate(statuses):
            log.note(
                f"r{number}", "a1b2c3d4e5f6", "POST", "/api/leads", status, "invalid" if status >= 400 else "", 0.001234
            )
        while not writes and mode != "none":
            await asyncio.sleep(0.01)
        log.flush()

    asyncio.run(asyncio.wait_for(main(), 10))
    return [[json.loads(line) for line in write.splitlines()] for write in writes]


def test_requests_that_end_together_are_written_together():
    [lines] = written("all", 202, 400, 200)

    assert [line["request_id"] for line in lines] == ["r0", "r1", "r2"]
    assert lines[1]["timestamp"].endswith("Z")
    assert {**lines[1], "timestamp": ""} == {
        "request_id": "r1",
        "user": "a1b2c3d4e5f6",
        "method": "POST",
        "route": "/api/leads",
        "status": 400,
        "reason": "invalid",
        "milliseconds": 1.23,
        "event": "request",
        "level": "info",
        "timestamp": "",
        "service": "api",
    }


@pytest.mark.parametrize(("mode", "kept"), [("all", [202, 404, 503]), ("errors", [404, 503])])
def test_the_mode_tells_which_requests_are_written(mode: str, kept: list[int]):
    [lines] = written(mode, 202, 404, 503)

    assert [line["status"] for line in lines] == kept


def test_no_line_is_written_when_the_log_is_off():
    assert written("none", 202, 404, 503) == []
