"""All together: load, API, Redis, worker and database on the same cores, at the highest sustained rate."""

import argparse
import math
from typing import Any

from loadtests.bench import pace
from loadtests.bench.accept import MAIN, checked_stored, sent
from loadtests.bench.contenders import Contender, Ours
from loadtests.bench.disk import Disk
from loadtests.bench.figures import Bar, Findings, percentile
from loadtests.bench.pace import Held
from loadtests.bench.prober import Probed, Prober
from loadtests.bench.wrk import BadAnswers

TRIAL = 4.0  # seconds
TRIALS = 4

# Most tries to sustain the rate that the trials found; each is a tenth slower.
HOLDS = 4

CALM = 1000.0  # leads per second at which the latency bars hold
CALM_SECONDS = 15.0

MEMORY = 120.0  # MiB
FLAT = 10.0  # MiB between the first sample and the last


def measure(ours: Ours, stock: Contender | None, options: argparse.Namespace, findings: Findings) -> None:
    """Measure, print, and record figures and bars."""
    print("\nTogether: the highest rate at which the backlog stays bounded, everything on the same cores")
    figures = findings.figures["together"] = {}
    rival = 0.0
    if stock is not None:
        rival = pace.highest(stock, _ceiling(stock), TRIAL, TRIALS - 1)
        figures["stock, leads/s"] = round(rival, 1)
        stock.stop()
    rate = pace.highest(ours, _ceiling(ours), TRIAL, TRIALS)
    for _ in range(HOLDS):
        held, probed, disk = _probed(ours, rate, options.hold)
        _tell(f"{options.hold:g} s at {rate:,.0f} leads/s", held, probed, disk, figures)
        if held.bounded:
            break
        rate *= 0.9
    figures["ours, leads/s"] = round(held.load.rate if held.bounded else 0.0, 1)
    if rival:
        findings.bar(Bar("together, ours / stock, end to end", figures["ours, leads/s"] / rival, 10.0))
    for name, looks in (("an API process", held.api), ("a pool process", held.pool)):
        findings.bar(Bar(f"{name}, RSS", max(rss for rss, _ in looks), MEMORY, at_least=False, unit="MiB"))
        findings.bar(Bar(f"{name}, growth of USS", looks[-1][1] - looks[0][1], FLAT, at_least=False, unit="MiB"))
        figures[f"{name}, RSS MiB"] = round(looks[-1][0], 1)
        figures[f"{name}, USS MiB"] = round(looks[-1][1], 1)
    held, probed, disk = _probed(ours, CALM, CALM_SECONDS)
    _tell(f"{CALM_SECONDS:g} s at {CALM:,.0f} leads/s", held, probed, disk, figures)
    # Latencies count only if the rate was sustained.
    answer, row = (held.load.p99, percentile(probed.rows, 0.99)) if held.bounded else (math.inf, math.inf)
    findings.bar(Bar(f"answer at {CALM:,.0f} leads/s, p99", answer, 10.0, at_least=False, unit="ms"))
    findings.bar(Bar(f"202 to row at {CALM:,.0f} leads/s, p99", row, 250.0, at_least=False, unit="ms"))


def _ceiling(contender: Contender) -> float:
    """Return an upper bound of the sustained rate: slightly above the rate of answers under full load."""
    tag, found = sent(contender, MAIN, TRIAL)
    checked_stored(contender, tag, found)
    return found.rate * 1.1


def _probed(ours: Ours, rate: float, seconds: float) -> tuple[Held, Probed, list[float]]:
    with Prober(ours.url, ours.token, ours.database_url) as prober, Disk(ours.queue.directory) as disk:
        held = pace.hold(ours, rate, seconds)
    if prober.found.lost or prober.found.refused or not prober.found.rows:
        raise BadAnswers(
            f"of {len(prober.found.answers)} probes {prober.found.lost} have no row, "
            f"{prober.found.refused} were refused"
        )
    return held, prober.found, disk.found


def _tell(title: str, held: Held, probed: Probed, disk: list[float], figures: dict[str, Any]) -> None:
    load = held.load
    verdict = "bounded" if held.bounded else "NOT BOUNDED"
    print(f"\n  {title}: {load.rate:,.1f}/s answered ({load.answers:,}), {held.stored:,} stored, {verdict}")
    print(
        f"    backlog: greatest {max(held.backlog):,}, at the end {held.backlog[-1]:,}, gone {held.drained:.1f} s later"
    )
    found = {
        "answer (load)": (load.p50, load.p95, load.p99),
        **{
            name: tuple(percentile(times, share) for share in (0.5, 0.95, 0.99))
            for name, times in (("answer (probe)", probed.answers), ("202 to row", probed.rows), ("disk, fsync", disk))
        },
    }
    for name, (p50, p95, p99) in found.items():
        print(f"    {name:<16} p50 {p50:8.1f} ms   p95 {p95:8.1f} ms   p99 {p99:8.1f} ms")
    for name, looks in (("API process", held.api), ("pool process", held.pool)):
        if looks:
            (rss, uss), (rss_after, uss_after) = looks[0], looks[-1]
            print(f"    {name:<16} RSS {rss:.0f} → {rss_after:.0f} MiB, USS {uss:.0f} → {uss_after:.0f} MiB")
    figures[title] = {
        "rate": round(load.rate, 1),
        "stored": held.stored,
        "backlog": {"greatest": max(held.backlog), "end": held.backlog[-1]},
        **{name: [round(value, 2) for value in values] for name, values in found.items()},
    }
