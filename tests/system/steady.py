"""A client that sends a lead now and then, with an Idempotency-Key and without, and notes when each was answered."""

import itertools
import threading
import time
from collections import Counter
from typing import Self

import httpx

from tests.kit.leads import a_lead
from tests.kit.service import Service

# Pause (seconds) between two leads, and the longest wait for an answer.
PAUSE = 0.02
ANSWER_TIMEOUT = 30.0

WITH_KEY, WITHOUT = "with a key", "without"


class Steady:
    """Sends leads within the block, of each kind one after the other."""

    def __init__(self, service: Service, **fields: str) -> None:
        self.ids: list[str] = []
        self.others: Counter[str] = Counter()  # answers that are not 202
        self._accepted: dict[str, list[float]] = {WITH_KEY: [], WITHOUT: []}
        self._fields = fields
        self._headers = service.headers()
        self._url = f"{service.base_url}/api/leads"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(kind,)) for kind in self._accepted]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def gaps(self) -> dict[str, float]:
        """The longest time (seconds) between two leads that were accepted, by kind."""
        return {
            kind: max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)
            for kind, moments in self._accepted.items()
        }

    def _send(self, kind: str) -> None:
        with httpx.Client(timeout=ANSWER_TIMEOUT) as client:
            for number in itertools.count():
                key = {"Idempotency-Key": f"{id(self)}-{number}"} if kind == WITH_KEY else {}
                try:
                    answer = client.post(self._url, json=a_lead(**self._fields), headers={**self._headers, **key})
                except httpx.HTTPError as error:
                    self.others[f"{kind}: {type(error).__name__}"] += 1
                else:
                    self._note(kind, answer)
                if self._ended.wait(PAUSE):
                    return

    def _note(self, kind: str, answer: httpx.Response) -> None:
        if answer.status_code == 202:
            self._accepted[kind].append(time.monotonic())
            self.ids.append(answer.json()["data"]["id"])
        else:
            self.others[f"{kind}: {answer.status_code} {answer.text}"] += 1
