"""Leads that keep coming in while a release is replaced."""

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.kit.leads import a_lead
from tests.releases.processes import Api

# Seconds between two requests, and leads of a bulk request.
PAUSE = 0.02
BULK_SIZE = 12


@dataclass(frozen=True)
class Keyed:
    """A request that was accepted with an Idempotency-Key."""

    path: str
    body: Any
    key: str
    ids: list[str]

    def send_again(self, api: Api) -> list[str]:
        """Send it once more; return the ids that it is answered with."""
        return ids_of(api.post(self.path, self.body, Idempotency_Key=self.key))


class Trickle:
    """Sends leads to the APIs that are open, in turns: single and bulk, with and without a key."""

    def __init__(self, *apis: Api) -> None:
        self.accepted: list[str] = []
        self.keyed: list[Keyed] = []
        self.wrong: list[str] = []
        self._apis = list(apis)
        self._numbers = itertools.count()
        self._ended = threading.Event()
        # Held while a request is under way.
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def open(self, api: Api) -> None:
        """Send to this one, too."""
        with self._sending:
            self._apis.append(api)

    def close(self, api: Api) -> None:
        """Send to this one no more; on return no request is under way."""
        with self._sending:
            self._apis.remove(api)

    def goes_on(self, leads: int = 60) -> None:
        """Wait until so many more leads were accepted."""
        wanted = len(self.accepted) + leads
        deadline = time.monotonic() + 30
        while len(self.accepted) < wanted and not self.wrong:
            assert time.monotonic() < deadline, f"{len(self.accepted)} of {wanted} leads were accepted"
            time.sleep(0.02)
        assert self.wrong == []

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing within the block."""
        with self._sending:
            yield

    def _run(self) -> None:
        while not self._ended.wait(PAUSE):
            with self._sending:
                try:
                    self._send(next(self._numbers))
                except (AssertionError, httpx.HTTPError) as error:
                    self.wrong.append(repr(error))

    def _send(self, number: int) -> None:
        api, other = (self._apis[(number + each) % len(self._apis)] for each in (0, 1))
        bulk = number % 10 == 0
        path, body = ("/api/leads/bulk", [a_lead() for _ in range(BULK_SIZE)]) if bulk else ("/api/leads", a_lead())
        if number % 3:
            self.accepted += ids_of(api.post(path, body))
            return
        key = str(uuid.uuid4())
        request = Keyed(path, body, key, ids_of(api.post(path, body, Idempotency_Key=key)))
        self.accepted += request.ids
        self.keyed.append(request)
        assert request.send_again(other) == request.ids, "another id for the same key"


def ids_of(answer: httpx.Response) -> list[str]:
    """Return the ids of the leads that were accepted."""
    assert answer.status_code == 202, answer.text
    data = answer.json()["data"]
    return [each["id"] for each in data["results"]] if "results" in data else [data["id"]]
