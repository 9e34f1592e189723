"""Measures lists while leads are stored, and checks that `total` is right and never decreases."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text

from loadtests.bench import wrk
from loadtests.bench.figures import new_tag
from loadtests.reads.lists import Measured, System
from schema.counts import totals
from schema.database.engines import snapshot
from schema.lead import lead_id
from tests.kit.servers import until

# Connections that request lists, each on a fixed schedule that does not depend on the answers (open loop).
READERS = 4

# Connections that send leads, one per request.
WRITERS = 32

# Interval (seconds) of the comparisons with plain SQL.
CHECK_EVERY = 1.0

# Longest time (seconds) from the last lead sent until all leads are stored.
STORE_TIMEOUT = 60.0


@dataclass(frozen=True)
class _Seen:
    """An answer: when it was due, when it arrived, and its total."""

    begun: float
    ended: float
    total: int


@dataclass
class Found:
    """The result of reading lists while leads were stored."""

    accepted: int
    stored_rate: float  # leads per second
    measured: Measured
    checks: int
    faults: list[str] = field(default_factory=list)


def lists_while_storing(system: System, engine: Engine, rate: int, lists: int, seconds: float) -> Found:
    """For `seconds`, send `rate` leads per second and request `lists` lists per second: first, middle and last page.

    Raises wrk.BadAnswers when a lead was refused.
    """
    base = _count(engine)
    first = lead_id.at(time.time_ns() // 1000 - 1)
    seen: list[_Seen] = []
    faults: list[str] = []
    over = threading.Event()
    checks = [0]

    def read(number: int) -> None:
        try:
            for begun, ended, total in _ask(system, READERS / lists, number / lists, over):
                seen.append(_Seen(begun, ended, total))
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            faults.append(f"a list was not answered: {error!r}")

    def check() -> None:
        while not over.wait(CHECK_EVERY):
            faults.extend(_compare(system, engine, base, first))
            checks[0] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    threads.append(threading.Thread(target=check))
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    try:
        load = wrk.run(system.url, system.token, new_tag(), connections=WRITERS, seconds=seconds, rate=rate)
    finally:
        ended = time.monotonic()
        over.set()
        for thread in threads:
            thread.join()
    waiting = base + load.answers - _total(system)
    until(lambda: _total(system) >= base + load.answers, STORE_TIMEOUT, 0.1)
    with suppress(AssertionError):
        until(lambda: _total(system) == _count(engine), STORE_TIMEOUT, 0.5)
    there = _count(engine)
    # At its end wrk closes connections with open requests, whose leads may be stored as well.
    accepted = base + load.answers
    if _total(system) != there or not accepted <= there <= accepted + WRITERS:
        faults.append(f"at the end the total is {_total(system)}, the rows {there}, accepted {accepted}")
    took = [each.ended - each.begun for each in seen if begun <= each.begun and each.ended <= ended]
    faults.extend(_back(seen))
    stored = (load.answers - waiting) / (ended - begun)
    return Found(load.answers, stored, Measured(took, 0, ended - begun), checks[0], faults)


def _ask(system: System, interval: float, delay: float, over: threading.Event) -> Iterator[tuple[float, float, int]]:
    """Request lists on schedule; yield for each when it was due, when it arrived, and its total."""
    connection = http.client.HTTPConnection(system.host, system.port, timeout=30)
    places = (lambda last: 1, lambda last: last // 2, lambda last: last)
    last, number = 1, 0
    due = time.monotonic() + delay
    while not over.wait(max(0.0, due - time.monotonic())):
        page = max(1, places[number % len(places)](last))
        connection.request("GET", f"/api/leads?page={page}", headers=system.headers)
        answer = connection.getresponse()
        body = answer.read()
        ended = time.monotonic()
        if answer.status != 200:
            raise ValueError(f"{answer.status} for page {page}")
        data = json.loads(body)["data"]
        if len(data["items"]) != min(10, data["pagination"]["total"] - 10 * page + 10):
            raise ValueError(f"page {page} of {data['pagination']['total']} has {len(data['items'])} leads")
        last = data["pagination"]["total_pages"]
        yield due, ended, data["pagination"]["total"]
        number += 1
        due += interval
    connection.close()


def _back(seen: list[_Seen]) -> list[str]:
    """Return a fault for each list with a smaller total than one that arrived before it was due."""
    found = []
    by_end = sorted(seen, key=lambda each: each.ended)
    highest, position = 0, 0
    for each in sorted(seen, key=lambda each: each.begun):
        while position < len(by_end) and by_end[position].ended <= each.begun:
            highest = max(highest, by_end[position].total)
            position += 1
        if each.total < highest:
            found.append(f"total went back from {highest} to {each.total}")
    return found


def _compare(system: System, engine: Engine, base: int, first: bytes) -> list[str]:
    """Compare the counts with the rows in one snapshot, and a list with the rows before and after it."""
    with engine.connect() as connection, snapshot(connection):
        total = totals.total(connection)
        before = base + _since(connection, first)
    listed = _total(system)
    with engine.connect() as connection, snapshot(connection):
        after = base + _since(connection, first)
    found = []
    if total != before:
        found.append(f"the counts say {total} where the rows are {before}")
    if not before <= listed <= after:
        found.append(f"a list says {listed} where the rows went from {before} to {after}")
    return found


def _since(connection: Connection, first: bytes) -> int:
    statement = text("SELECT COUNT(*) FROM leads WHERE id >= :first")
    return int(connection.execute(statement, {"first": first}).scalar_one())


def _count(engine: Engine) -> int:
    with engine.connect() as connection:
        return _since(connection, lead_id.FIRST_ID)


def _total(system: System) -> int:
    return int(system.get({"limit": 1}).json()["data"]["pagination"]["total"])
