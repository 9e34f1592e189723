"""Measures the bytes of Redis's memory that a waiting lead takes."""

from loadtests.bench import wrk
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import Bar, Findings
from loadtests.bench.filling import fill
from loadtests.bench.wrk import BadAnswers
from tests.kit.service import paused

MOST = 600.0  # bytes


def measure(ours: Ours, number: int, findings: Findings) -> None:
    """Measure with `number` waiting leads, print, and record figure and bar."""
    print(f"\nLean: {number:,} waiting leads", flush=True)
    ours.drain()
    with paused(ours.worker()):
        tag, size = filled(ours, number)
    ours.drain()
    if (stored := ours.stored(tag)) != number:
        raise BadAnswers(f"of {number} waiting leads {stored} are stored")
    tell(number, size, findings)


def filled(ours: Ours, number: int) -> tuple[str, float]:
    """Fill the queue while the worker is stopped; return the leads' tag and the bytes in Redis per lead.

    Raises BadAnswers.
    """
    with ours.queue.client() as client:
        before = client.info("memory")["used_memory"]
        tag = fill(ours, number)
        size = client.info("memory")["used_memory"] - before
    if (waiting := ours.waiting()) != number:
        raise BadAnswers(f"{number} leads were accepted, {waiting} wait")
    return tag, size / number


def tell(number: int, size: float, findings: Findings) -> None:
    """Record and print the figure and its bar."""
    findings.figures[f"lean, {number:,} waiting"] = {"bytes each": round(size, 1)}
    what = f"Redis, each of {number:,} waiting leads of {wrk.LEAD_BYTES} bytes"
    findings.bar(Bar(what, size, MOST, at_least=False, unit="bytes"))
