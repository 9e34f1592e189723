"""The machine's limits: appending to a stream, and loading a file into the table."""

import argparse
import re
import subprocess
from statistics import median

from loadtests.bench import wrk
from loadtests.bench.bare import Bare
from loadtests.bench.figures import Findings, spread
from loadtests.bench.wrk import BadAnswers
from tests.kit.servers import RedisServer, program

CLIENTS, PIPELINE = 32, 32
ENTRIES = 200_000

# Bytes of an entry: the lead with its id and two times.
PAYLOAD = wrk.LEAD_BYTES + 130


def measure(queue: RedisServer, bare: Bare, options: argparse.Namespace, findings: Findings) -> None:
    """Measure, print, and record figures."""
    print("\nLimits, a second")
    found = {
        f"XADD ({CLIENTS} clients, pipelines of {PIPELINE})": lambda: appended(queue),
        "LOAD DATA LOCAL, 2 connections (no counts)": lambda: bare.load(options.leads),
    }
    figures = findings.figures["limits"] = {}
    for name, take in found.items():
        values = [take() for _ in range(options.rounds)]
        figures[name] = round(median(values), 1)
        print(f"    {name:<44}{spread(values):>28}")


def appended(queue: RedisServer) -> float:
    """Return how many entries per second redis-benchmark appends to a stream on the same Redis."""
    command = [program("redis-benchmark"), "-p", str(queue.port), "--dbnum", "3", "-q"]
    shape = ["-n", str(ENTRIES), "-c", str(CLIENTS), "-P", str(PIPELINE)]
    done = subprocess.run(
        [*command, *shape, "XADD", "limit", "*", "lead", "x" * PAYLOAD], capture_output=True, text=True, check=True
    )
    client = queue.client()
    client.select(3)
    entries = client.xlen("limit")
    client.delete("limit")
    client.close()
    if entries != ENTRIES:
        raise BadAnswers(f"XADD: of {ENTRIES} entries {entries} are there")
    return parse(done.stdout)


def parse(output: str) -> float:
    """Parse the last figure that redis-benchmark printed.

    Raises ValueError when there is none.
    """
    found = re.findall(r"([\d.]+) requests per second", output)
    if not found:
        raise ValueError(f"redis-benchmark says nothing of worth: {output[-200:]!r}")
    return float(found[-1])
