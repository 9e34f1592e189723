"""A reader of `changes` that may be killed at any moment: `python -m loadtests.chaos.reader URL FILE`.

It appends a line to its file for each answer: the ids and the cursor behind them, in one write. Another run goes on
from the last whole line.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.kit.service import EMAIL, PASSWORD

# Seconds that a request waits, and that it may take.
WAIT = 5
TIMEOUT = 10.0

# Pause, seconds, after a request that failed.
PAUSE = 0.2

LIMITS = (1, 7, 100, 1000)


def answers(file: Path) -> list[dict[str, Any]]:
    """Return the answers in the whole lines of a reader's file."""
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []


class Reader:
    """One run."""

    def __init__(self, url: str, file: Path) -> None:
        self._url = url
        known = answers(file)
        self._cursor = known[-1]["cursor"] if known else ""
        self._token = ""
        self._out = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        # A line that is not whole was never read: its leads come again.
        os.ftruncate(self._out, file.read_bytes().rfind(b"\n") + 1)

    def run(self) -> None:
        """Read until killed."""
        while True:
            try:
                self._read()
            except (
                OSError,
                ValueError,
                HTTPException,
            ) as error:  # no connection, a lost one, half an answer, a timeout
                if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
                    self._token = ""
                time.sleep(PAUSE)

    def _read(self) -> None:
        if not self._token:
            credentials = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()
            self._token = self._ask("/api/login_check", credentials)["token"]
        query = urlencode({"after": self._cursor, "limit": random.choice(LIMITS), "wait": WAIT})
        data = self._ask(f"/api/leads/changes?{query}")["data"]
        if data["next_cursor"] == self._cursor:
            return
        line = {"ids": [lead["id"] for lead in data["items"]], "cursor": data["next_cursor"]}
        os.write(self._out, json.dumps(line).encode() + b"\n")
        self._cursor = data["next_cursor"]

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._url + path, body, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)


if __name__ == "__main__":
    Reader(sys.argv[1], Path(sys.argv[2])).run()
