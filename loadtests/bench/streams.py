"""Ours beside a stream processor: leads accepted and stored a second, and the processor time of a lead, by part."""

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

# The title of the first figure.
ACCEPTED = "accepted a second, while they are stored"


def measure(contenders: list[Contender], options: argparse.Namespace, findings: Findings) -> None:
    """Measure all contenders, print, and record figures and bars. The first is ours."""
    print(f"\nStreams: every lead stored (median, least–greatest of {options.rounds} rounds of {options.seconds:g} s)")
    for each in contenders:
        each.check_answer()
        loaded(each, lambda tag, each=each: load(each, tag, CONNECTIONS[0], 2))
    accepted: dict[tuple[str, int], list[float]] = defaultdict(list)
    stored: dict[tuple[str, int], list[float]] = defaultdict(list)
    costs: dict[tuple[str, int], list[float]] = defaultdict(list)
    parts: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    p99: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for connections in CONNECTIONS:
            for each in contenders:
                tag, processes = new_tag(), _parts(each)
                before, begun = {part: cpu_seconds(those) for part, those in processes.items()}, time.monotonic()
                found = load(each, tag, connections, options.seconds)
                each.drain()
                seconds = time.monotonic() - begun
                spent = {part: cpu_seconds(those) - before[part] for part, those in processes.items()}
                leads = checked_stored(each, tag, found)
                accepted[each.name, connections].append(found.rate)
                stored[each.name, connections].append(leads / seconds)
                costs[each.name, connections].append(sum(spent.values()) / leads * 1e6)
                parts[each.name, connections].append({part: took / leads * 1e6 for part, took in spent.items()})
                p99[each.name, connections].append(found.p99)
    figures = findings.figures["streams"] = {}
    for title, values in (
        (ACCEPTED, accepted),
        ("stored a second, until the last one", stored),
        ("processor time of a lead, with Redis and database, µs", costs),
        ("p99 of an answer, ms", p99),
    ):
        print(f"\n  {title:<56}" + "".join(f"{number:>8} connections     " for number in CONNECTIONS))
        for each in contenders:
            print(f"    {each.name:<40}" + "".join(f"{spread(values[each.name, n]):>24}" for n in CONNECTIONS))
            figures |= {f"{each.name}, {title}, {n}": round(median(values[each.name, n]), 1) for n in CONNECTIONS}
    _tell_parts([each.name for each in contenders], parts, figures)
    _compare([each.name for each in contenders], accepted, stored, costs, p99, findings)


def _parts(contender: Contender) -> dict[str, list[psutil.Process]]:
    """Return all processes that a lead of `contender` goes through, and those beside them, by part."""
    known = {"API": contender.api(), "worker": contender.worker()}
    rest = [each for each in contender.processes() if not any(each in those for those in known.values())]
    servers = {"Redis": [psutil.Process(contender.queue.pid)], "database": [psutil.Process(contender.database.pid)]}
    return known | {"rest": rest} | servers


def _tell_parts(
    names: list[str], parts: dict[tuple[str, int], list[dict[str, float]]], figures: dict[str, float]
) -> None:
    print("\n  processor time of a lead by part, µs (medians)")
    for name in names:
        for n in CONNECTIONS:
            rounds = parts[name, n]
            found = {part: median(each[part] for each in rounds) for part in rounds[0]}
            print(
                f"    {f'{name}, {n} connections':<40}" + "".join(f"{part:>10} {µs:,.0f}" for part, µs in found.items())
            )
            figures |= {f"{name}, µs {part}, {n}": round(µs, 1) for part, µs in found.items()}


def _compare(
    names: list[str],
    accepted: dict[tuple[str, int], list[float]],
    stored: dict[tuple[str, int], list[float]],
    costs: dict[tuple[str, int], list[float]],
    p99: dict[tuple[str, int], list[float]],
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
    for what, lesser in (("processor time", costs), ("p99", p99)):
        for n in CONNECTIONS:
            ratio = median(lesser[ours, n]) / min(median(lesser[each, n]) for each in peers)
            findings.bar(Bar(f"{what}, {n} connections, ours / the better Bento", ratio, 1.0, False))
