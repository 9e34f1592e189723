"""Ours beside a stream processor: leads accepted and stored a second, and the processor time of a lead."""

import argparse
import time
from collections import defaultdict
from statistics import median

import psutil

from loadtests.bench.accept import checked_stored, load, loaded
from loadtests.bench.contenders import Contender
from loadtests.bench.figures import Bar, Findings, new_tag, spread
from loadtests.bench.processes import cpu_seconds

CONNECTIONS = (32, 128, 512)


def measure(contenders: list[Contender], options: argparse.Namespace, findings: Findings) -> None:
    """Measure all contenders, print, and record figures and bars. The first is ours."""
    print(f"\nStreams: every lead stored (median, least–greatest of {options.rounds} rounds of {options.seconds:g} s)")
    for each in contenders:
        each.check_answer()
        loaded(each, lambda tag, each=each: load(each, tag, CONNECTIONS[0], 2))
    accepted: dict[tuple[str, int], list[float]] = defaultdict(list)
    stored: dict[tuple[str, int], list[float]] = defaultdict(list)
    costs: dict[tuple[str, int], list[float]] = defaultdict(list)
    p99: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for connections in CONNECTIONS:
            for each in contenders:
                servers = [psutil.Process(each.queue.pid), psutil.Process(each.database.pid)]
                tag = new_tag()
                before, begun = cpu_seconds([*each.processes(), *servers]), time.monotonic()
                found = load(each, tag, connections, options.seconds)
                each.drain()
                seconds = time.monotonic() - begun
                spent = cpu_seconds([*each.processes(), *servers]) - before
                leads = checked_stored(each, tag, found)
                accepted[each.name, connections].append(found.rate)
                stored[each.name, connections].append(leads / seconds)
                costs[each.name, connections].append(spent / leads * 1e6)
                p99[each.name, connections].append(found.p99)
    figures = findings.figures["streams"] = {}
    for title, values in (
        ("accepted a second, while they are stored", accepted),
        ("stored a second, until the last one", stored),
        ("processor time of a lead, with Redis and database, µs", costs),
        ("p99 of an answer, ms", p99),
    ):
        print(f"\n  {title:<56}" + "".join(f"{number:>8} connections     " for number in CONNECTIONS))
        for each in contenders:
            print(f"    {each.name:<40}" + "".join(f"{spread(values[each.name, n]):>24}" for n in CONNECTIONS))
            figures |= {f"{each.name}, {title}, {n}": round(median(values[each.name, n]), 1) for n in CONNECTIONS}
    _compare([each.name for each in contenders], accepted, stored, costs, findings)


def _compare(
    names: list[str],
    accepted: dict[tuple[str, int], list[float]],
    stored: dict[tuple[str, int], list[float]],
    costs: dict[tuple[str, int], list[float]],
    findings: Findings,
) -> None:
    ours, *peers = names
    if not peers:
        return
    print()
    for what, values in (("accepted", accepted), ("stored", stored)):
        for n in CONNECTIONS:
            best = max(median(values[each, n]) for each in peers)
            findings.bar(Bar(f"{what}, {n} connections, ours / the better Bento", median(values[ours, n]) / best, 1.0))
    for n in CONNECTIONS:
        best = min(median(costs[each, n]) for each in peers)
        bar = Bar(
            f"processor time, {n} connections, ours / the better Bento", median(costs[ours, n]) / best, 1.0, False
        )
        findings.bar(bar)
