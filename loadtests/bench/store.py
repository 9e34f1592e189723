"""Storing: leads per second that one worker stores, compared with a bare loop of multi-row INSERTs."""

import argparse
import time
from statistics import median

from loadtests.bench import lean
from loadtests.bench.bare import BATCH, CONNECTIONS, Bare
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import Bar, Findings, spread
from loadtests.bench.wrk import BadAnswers
from tests.kit.servers import until
from tests.kit.service import paused


def measure(ours: Ours, bare: Bare, options: argparse.Namespace, findings: Findings) -> None:
    """Measure, print, and record figures and bars."""
    number = options.leads - options.leads % 1000
    print(
        f"\nStore: {number:,} waiting leads, leads a second (API idle meanwhile); rows, counts and ledger are checked"
    )
    stored: list[float] = []
    sizes: list[float] = []
    limit: list[float] = []
    for _ in range(options.rounds):
        limit.append(bare.insert(number))
        rate, size = drained(ours, number)
        stored.append(rate)
        sizes.append(size)
    print(f"    ours, one worker, {options.workers} pool processes       {spread(stored):>28}")
    print(f"    bare INSERTs, {CONNECTIONS} connections, {BATCH} rows    {spread(limit):>28}")
    findings.figures["store"] = {"ours": round(median(stored), 1), "bare INSERTs": round(median(limit), 1)}
    findings.bar(Bar("store, ours / bare INSERTs", median(stored) / median(limit), 0.6))
    lean.tell(number, median(sizes), findings)


def drained(ours: Ours, number: int) -> tuple[float, float]:
    """Fill the queue while the worker is stopped, then let the worker drain it.

    Returns leads stored per second, and the bytes of Redis's memory per waiting lead.

    Raises BadAnswers when a lead is not stored.
    """
    with paused(ours.worker()):
        tag, size = lean.filled(ours, number)
    begun = time.perf_counter()
    until(lambda: ours.waiting() == 0, 600, 0.02)
    seconds = time.perf_counter() - begun
    if (stored := ours.stored(tag)) != number:
        raise BadAnswers(f"of {number} waiting leads {stored} are stored")
    ours.check_counts()
    return number / seconds, size
