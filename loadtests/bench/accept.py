"""Accepting: answers per second of each contender in alternating rounds, and how many of the leads were stored."""

import argparse
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import psutil

from loadtests.bench import wrk
from loadtests.bench.contenders import Contender
from loadtests.bench.figures import Bar, Findings, new_tag, spread
from loadtests.bench.processes import cpu_seconds
from loadtests.bench.wrk import BadAnswers, Load
from tests.kit.service import paused

CONNECTIONS = (1, 32, 128)
MAIN = 32

# State of the workers during the load.
STORING, WAITING = "storing meanwhile", "workers stopped meanwhile"


def measure(contenders: list[Contender], options: argparse.Namespace, findings: Findings) -> None:
    """Measure all contenders, print, and record figures and bars."""
    print(f"\nAccept: answers a second (median, least–greatest of {options.rounds} rounds of {options.seconds:g} s)")
    for contender in contenders:
        contender.check_answer()
        loaded(contender, lambda tag, each=contender: load(each, tag, MAIN, 2))
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    leads: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    plan = [(STORING, number) for number in CONNECTIONS] + [(WAITING, MAIN)]
    for _ in range(options.rounds):
        for way, connections in plan:
            for contender in contenders:
                if way == WAITING and not contender.worker() and contender.stores:
                    continue
                api, queue = contender.api(), [psutil.Process(contender.queue.pid)]
                before = cpu_seconds(api), cpu_seconds(queue)
                with paused(contender.worker()) if way == WAITING else nullcontext():
                    tag, found = sent(contender, connections, options.seconds)
                    spent = cpu_seconds(api) - before[0], cpu_seconds(queue) - before[1]
                stored = checked_stored(contender, tag, found)
                rates[contender.name, way, connections].append(found.rate)
                leads[contender.name][0] += found.answers
                leads[contender.name][1] += stored
                if connections == MAIN:
                    # Redis's time is the cost of accepting only while the workers are stopped: it serves them, too.
                    costs["API", f"{contender.name} {way}"].append(spent[0] / found.answers * 1e6)
                    costs["Redis", f"{contender.name} {way}"].append(spent[1] / found.answers * 1e6)
    for contender in contenders:
        contender.check_answer()
    _tell(contenders, rates, costs, leads, findings)


def load(contender: Contender, tag: str, connections: int, seconds: float) -> Load:
    """Send single leads; each connection sends the next one as soon as it is answered."""
    return wrk.run(contender.url, contender.token, tag, connections=connections, seconds=seconds)


def sent(contender: Contender, connections: int, seconds: float) -> tuple[str, Load]:
    """Send single leads under a new tag; return the tag and the load."""
    tag = new_tag()
    return tag, load(contender, tag, connections, seconds)


def loaded(contender: Contender, run: Callable[[str], Load]) -> Load:
    """Run a load under a new tag, and check that all its leads get stored."""
    tag = new_tag()
    found = run(tag)
    checked_stored(contender, tag, found)
    return found


def checked_stored(contender: Contender, tag: str, found: Load, leads: int = 1) -> int:
    """Wait until the queue is empty; return how many leads of the run are stored. Each answer stands for `leads` leads.

    Raises BadAnswers when fewer are stored than were answered with 202.
    """
    if not contender.stores:
        return 0
    contender.drain()
    stored = contender.stored(tag)
    # At its end wrk closes connections with open requests, whose leads may be stored without an answer.
    if stored < found.answers * leads:
        raise BadAnswers(f"{contender.name}: {found.answers * leads} leads were answered with 202, {stored} are stored")
    return stored


def _tell(
    contenders: list[Contender],
    rates: dict[tuple[str, str, int], list[float]],
    costs: dict[tuple[str, str], list[float]],
    leads: dict[str, list[int]],
    findings: Findings,
) -> None:
    figures = findings.figures["accept"] = {}
    for way in (STORING, WAITING):
        numbers = CONNECTIONS if way == STORING else (MAIN,)
        print(f"\n  {way:<30}" + "".join(f"{number:>4} connection{'s' * (number > 1):<8}" for number in numbers))
        for contender in contenders:
            cells = [rates.get((contender.name, way, number), []) for number in numbers]
            if not all(cells):
                continue
            print(f"    {contender.name:<20}" + "".join(f"{spread(cell):>24}" for cell in cells))
            for number, cell in zip(numbers, cells, strict=True):
                figures[f"{contender.name}, {way}, {number}"] = round(median(cell), 1)
    print("\n  processor time of an accepted lead, µs            API      Redis")
    for (part, name), values in costs.items():
        figures[f"µs {part}, {name}"] = round(median(values), 1)
        if part == "API":
            print(f"    {name:<40}{median(values):>9.1f}{median(costs['Redis', name]):>11.1f}")
    print("\n  of the answers above                        answered      stored")
    for name, (answers, stored) in leads.items():
        print(f"    {name:<36}{answers:>14,}{stored:>12,}")
        figures[f"answered, {name}"], figures[f"stored, {name}"] = answers, stored
    print()
    ours = median(rates["ours", STORING, MAIN])
    for name, bound in (("stock", 10.0), ("direct", 8.0)):
        if (name, STORING, MAIN) in rates:
            findings.bar(
                Bar(f"accept, 32 connections, ours / {name}", ours / median(rates[name, STORING, MAIN]), bound)
            )
    if ("constant", WAITING, MAIN) in rates:
        # Workers stopped, because the constant route has none.
        alone = median(rates["ours", WAITING, MAIN])
        constant = median(rates["constant", WAITING, MAIN])
        findings.bar(Bar("accept, 32 connections, ours / constant, workers stopped", alone / constant, 0.4))
        print(f"    (with the workers storing meanwhile: {ours / constant:.2f} ×)")
