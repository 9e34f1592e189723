"""schema.runtime.logs: JSON lines that never hold an exception's message."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

# Each logs an error whose message quotes a lead, in one of the ways that our code or a library may.
WAYS = {
    "ours, exc_info=True": "ours.error('it failed', exc_info=True)",
    "ours, exc_info=error": "ours.error('it failed', exc_info=error)",
    "ours, exception()": "ours.exception('it failed')",
    "library, exc_info=True": "library.error('it failed', exc_info=True)",
    "library, exc_info=error": "library.error('it failed', exc_info=error)",
    "library, exception()": "library.exception('it failed')",
}

PROGRAM = """
import logging, sys
from schema.runtime import logs
logs.configure("api", "INFO")
ours, library = logs.get("ours"), logging.getLogger("library")
def fail():
    try:
        raise KeyError("Ada")
    except KeyError:
        raise ValueError("ada@example.com")
{lines}
"""


def run(lines: str) -> list[dict[str, Any]]:
    """Run a program that logs, and return its log lines."""
    program = PROGRAM.format(lines=lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_an_exception_is_logged_by_its_class_and_places_and_never_its_message():
    attempts = [f"try:\n    fail()\nexcept ValueError as error:\n    {way}" for way in WAYS.values()]

    found = run("\n".join(attempts))

    assert len(found) == len(WAYS)
    for way, line in zip(WAYS, found, strict=True):
        text = json.dumps(line)
        assert "ada@example.com" not in text, way
        assert "Ada" not in text, way
        assert line["event"] == "it failed", way
        assert line["exception"] == "ValueError", way
        assert any("fail" in place for place in line["where"]), way


def test_a_line_tells_its_service_logger_level_and_time():
    [ours, library] = run("ours.warning('one', leads=3)\nlibrary.info('two %s', 'more')")

    assert (ours["event"], ours["leads"], ours["level"], ours["logger"]) == ("one", 3, "warning", "ours")
    assert (library["event"], library["level"], library["logger"]) == ("two more", "info", "library")
    for line in (ours, library):
        assert line["service"] == "api"
        assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_left_out():
    assert run("ours.debug('x')\nlibrary.debug('x')") == []


@pytest.fixture(autouse=True)
def _root_logger_is_left_alone():
    before = list(logging.getLogger().handlers)
    yield
    assert logging.getLogger().handlers == before
