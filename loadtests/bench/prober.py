"""Measures the time from 202 to row: sends single leads at a fixed rate and polls the table for their rows.

It runs in a process of its own beside the load, and polls by primary key.
"""

import http.client
import json
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from loadtests.bench import wrk
from loadtests.bench.bare import connect
from loadtests.bench.figures import new_tag
from schema.lead import lead_id

# Interval (seconds) of leads, and of polls, which is the error of the time to the row.
INTERVAL = 0.05
POLL_INTERVAL = 0.003

# Longest time (seconds) from the last lead until all rows are there.
TIMEOUT = 60.0


@dataclass
class Probed:
    """Times in milliseconds. Answers count from when the lead was due, so that one stall does not hide the next."""

    answers: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0


class Prober:
    """Probes within a `with` block; `found` has the results after it."""

    def __init__(self, url: str, token: str, database_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._ready = context.Event()
        self._ours, theirs = context.Pipe()
        arguments = (url, token, database_url, new_tag(), self._stop, self._ready, theirs)
        self._process = context.Process(target=_probe, args=arguments, daemon=True)
        self.found = Probed()

    def __enter__(self) -> "Prober":
        self._process.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._ours.poll(TIMEOUT * 2):
            self.found = self._ours.recv()
        self._process.join(5)


def _probe(url: str, token: str, database_url: str, tag: str, stop: Any, ready: Any, pipe: Connection) -> None:
    probed = Probed()
    waiting: dict[bytes, float] = {}
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(database_url, waiting, probed, finished))
    watcher.start()
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    ready.set()
    due = time.monotonic()
    number = 0
    while not stop.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1
        client.request("POST", "/api/leads", wrk.lead(tag, number), headers)
        answer = client.getresponse()
        body = answer.read()
        now = time.monotonic()
        if answer.status == 202:
            waiting[lead_id.from_text(json.loads(body)["data"]["id"])] = now
            probed.answers.append((now - due) * 1000)
        else:
            probed.refused += 1
        due += INTERVAL
    finished.set()
    watcher.join()
    pipe.send(probed)


def _watch(database_url: str, waiting: dict[bytes, float], probed: Probed, finished: threading.Event) -> None:
    connection = connect(database_url)
    connection.autocommit(True)
    last = 0.0
    with connection, connection.cursor() as cursor:
        while waiting or not finished.is_set():
            time.sleep(POLL_INTERVAL)
            if finished.is_set():
                last = last or time.monotonic()
                if time.monotonic() - last > TIMEOUT:
                    break
            # Copied, because the other thread adds to it.
            if not (asked := list(waiting)):
                continue
            cursor.execute("SELECT id FROM leads WHERE id IN %s", (asked,))
            now = time.monotonic()
            for (found,) in cursor.fetchall():
                probed.rows.append((now - waiting.pop(found)) * 1000)
    probed.lost = len(waiting)
