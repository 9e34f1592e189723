"""What a waiting lead costs Redis, in bytes of memory."""

import argparse

from loadtests.bench import wrk
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import Bar, Findings
from loadtests.bench.filling import fill
from loadtests.bench.processes import paused
from loadtests.bench.wrk import BadAnswers

MOST = 600.0  # bytes


def measure(ours: Ours, options: argparse.Namespace, findings: Findings) -> None:
    """Measure, print, and keep figure and bar."""
    number = options.lean - options.lean % 1000 or options.leads - options.leads % 1000
    print(f"\nLean: memory of {number:,} waiting leads of {wrk.LEAD_BYTES} bytes in Redis")
    client = ours.queue.client()
    ours.drain()
    with paused(ours.worker()):
        before = client.info("memory")["used_memory"]
        tag = fill(ours, number)
        each = (client.info("memory")["used_memory"] - before) / ours.waiting()
    ours.drain()
    if (stored := ours.stored(tag)) != number:
        raise BadAnswers(f"of {number} waiting leads {stored} are stored")
    findings.figures["lean"] = {"leads": number, "bytes each": round(each, 1)}
    findings.bar(Bar(f"Redis, a waiting lead of {wrk.LEAD_BYTES} bytes", each, MOST, at_least=False, unit="bytes"))
