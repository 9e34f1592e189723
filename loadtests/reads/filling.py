"""Fills the table `leads` with plain SQL, and rebuilds the counts from its rows."""

import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from typing import Any

from schema.counts import maintain
from schema.counts.widths import DAY, MICROS
from schema.database import engines
from schema.lead import lead_id

# Leads per transaction.
BATCH = 2000

PROCESSES = 2

# One lead in so many is part of an import: all of these have times within one minute.
SPIKE = 10

FIRST_NAMES = (
    "Ada",
    "Grace",
    "Alan",
    "Edsger",
    "Barbara",
    "Donald",
    "Émile",
    "Zoë",
    "Linus",
    "Radia",
    "Ken",
    "Frances",
)
LAST_NAMES = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Zola", "Perlman", "Thompson", "Allen")

_INSERT = (
    "INSERT INTO leads "
    "(id, first_name, last_name, email, phone, date_of_birth, additional_data, created_at, updated_at) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def fill(url: str, rows: int, days: int) -> None:
    """Store `rows` leads created over the last `days` days, one in SPIKE within one minute. Prints its progress."""
    begun = time.monotonic()
    done = multiprocessing.Value("q", 0)
    workers = [
        multiprocessing.Process(target=_work, args=(url, rows, days, number, done), daemon=True)
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        workers[0].join(5)
        workers[-1].join(0.1)
        took = time.monotonic() - begun
        print(f"  filled {done.value:>11,} of {rows:,}   {done.value / took:,.0f} rows/s   {took:,.0f} s", flush=True)
    if any(worker.exitcode for worker in workers):
        raise SystemExit("filling failed")
    begun = time.monotonic()
    engine = engines.writer(url, timeout=600)
    # As `python -m schema counts --rebuild`.
    with engine.connect() as connection, connection.begin():
        found = maintain.rebuild(connection)
    engine.dispose()
    print(f"  counted {found:,} rows in {time.monotonic() - begun:,.0f} s", flush=True)


def _work(url: str, rows: int, days: int, number: int, done: Any) -> None:
    """Store every PROCESSES-th batch."""
    engine = engines.writer(url, timeout=120)
    with engine.connect() as connection:
        for place, batch in enumerate(_batches(_times(rows, days))):
            if place % PROCESSES != number:
                continue
            # A random generator for each batch, so that the rows do not depend on the processes' timing.
            dice = random.Random(place)
            made = [_row(micros, place * BATCH + each, dice) for each, micros in enumerate(batch)]
            with connection.begin():
                connection.exec_driver_sql(_INSERT, made)
            with done.get_lock():
                done.value += len(made)
    engine.dispose()


def _batches(times: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(times, BATCH)):
        yield batch


def _times(rows: int, days: int) -> Iterator[int]:
    """Yield the times of all leads in order, in microseconds since 1970."""
    end = int(time.time()) // DAY * DAY * MICROS
    start = end - days * DAY * MICROS
    spike = rows // SPIKE
    spread = rows - spike
    step = (end - start) // spread
    for number in range(spread):
        yield start + number * step
        if number == spread // 2:
            first = start + number * step
            yield from (first + each * min(step, 60 * MICROS) // spike for each in range(1, spike + 1))


def _row(micros: int, number: int, dice: random.Random) -> tuple[Any, ...]:
    created = lead_id.time_of(lead_id.at(micros)).replace(tzinfo=None)
    return (
        lead_id.at(micros, dice.getrandbits(64)),
        f"{dice.choice(FIRST_NAMES)} {dice.randrange(1000)}",
        f"{dice.choice(LAST_NAMES)} {dice.randrange(1000)}",
        f"lead{number}@example.com",
        f"+1555{dice.randrange(10**7):07}",
        date(1950, 1, 1) + timedelta(days=dice.randrange(20_000)),
        json.dumps({"campaign": dice.randrange(100)}) if dice.random() < 0.3 else None,
        created,
        created,
    )
