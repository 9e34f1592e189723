"""A source as tests make it, what it sends and reads, and the command that changes it."""

import itertools
import time
from typing import Any

import httpx

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import Service

# Longest time (seconds) until every process knows of a change.
CHANGE_DEADLINE = 15.0

_numbers = itertools.count(1)


class Source:
    """A source of a test's own, and what it sends."""

    def __init__(self, service: Service, *options: str) -> None:
        self.name = f"partner{next(_numbers)}-{time.time_ns()}"
        self.service = service
        self.key = command(service, "create", self.name, *options).strip()
        self.wait_until_known(self.key)

    def wait_until_known(self, key: str) -> None:
        """Wait until every process knows a key: a body that is no lead is a 400 then."""
        until(lambda: self.service.statuses("POST", "/api/leads", key, {}) == {400}, CHANGE_DEADLINE, 0.1)

    def wait_until_refused(self, key: str) -> None:
        """Wait until no process takes a key any more."""
        until(lambda: self.service.statuses("POST", "/api/leads", key, {}) == {403}, CHANGE_DEADLINE, 0.05)

    def post(self, lead: dict[str, Any] | None = None, key: str = "", **headers: str) -> httpx.Response:
        return self.service.post("/api/leads", a_lead() if lead is None else lead, key or self.key, **headers)

    def post_bulk(self, number: int) -> httpx.Response:
        return self.service.post("/api/leads/bulk", [a_lead() for _ in range(number)], self.key)

    def get(self, path: str, **parameters: object) -> httpx.Response:
        return self.service.get(path, self.key, params=parameters)

    def accept(self, number: int = 1) -> list[str]:
        answer = self.post_bulk(number)
        assert answer.status_code == 202, answer.text
        return [each["id"] for each in answer.json()["data"]["results"]]


def command(service: Service, *arguments: str) -> str:
    """Run `python -m ingest_api source` and return its output."""
    done = service.run("ingest_api", "source", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
