"""Bulk: leads per second in POSTs of SIZE leads, as a JSON array and as NDJSON, compared with single leads."""

import argparse
from statistics import median

import httpx

from loadtests.bench import wrk
from loadtests.bench.accept import MAIN, checked_stored, load
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import Bar, Findings, new_tag, spread
from loadtests.bench.wrk import BadAnswers
from tests.kit.service import paused

SIZE = 500  # leads in a request
CONNECTIONS = 8

WAYS = ("single", "array", "NDJSON")


def measure(ours: Ours, options: argparse.Namespace, findings: Findings) -> None:
    """Measure, print, and record figures and bars."""
    print(
        f"\nBulk: leads a second in POSTs of {SIZE}, {CONNECTIONS} connections (single: {MAIN}); "
        "workers stopped meanwhile, all stored afterwards"
    )
    check_answer(ours)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            tag = new_tag()
            with paused(ours.worker()):
                if way == "single":
                    found, leads = load(ours, tag, MAIN, options.seconds), 1
                else:
                    leads = SIZE
                    found = wrk.run(
                        ours.url,
                        ours.token,
                        tag,
                        connections=CONNECTIONS,
                        seconds=options.seconds,
                        bulk=SIZE,
                        ndjson=way == "NDJSON",
                    )
            checked_stored(ours, tag, found, leads)
            rates[way].append(found.rate * leads)
    for way in WAYS:
        print(f"    {way:<10}{spread(rates[way]):>28}")
    findings.figures["bulk"] = {way: round(median(rates[way]), 1) for way in WAYS}
    for way in WAYS[1:]:
        findings.bar(Bar(f"bulk, {way} / single leads", median(rates[way]) / median(rates["single"]), 3.0))


def check_answer(ours: Ours) -> None:
    """Send one request of each kind and check every result in its answer.

    Raises BadAnswers.
    """
    for kind, glue in (("application/json", ","), ("application/x-ndjson", "\n")):
        tag = new_tag()
        text = glue.join(wrk.lead(tag, number) for number in range(SIZE))
        answer = httpx.post(
            f"{ours.url}/api/leads/bulk",
            content=f"[{text}]" if glue == "," else text,
            headers={"Authorization": f"Bearer {ours.token}", "Content-Type": kind},
            timeout=30,
        )
        data = answer.json().get("data", {})
        ids = {result.get("id") for result in data.get("results", [])}
        if answer.status_code != 202 or data.get("accepted") != SIZE or len(ids - {None}) != SIZE:
            raise BadAnswers(f"bulk: {answer.status_code} {answer.text[:200]}")
        ours.drain()
        if ours.stored(tag) != SIZE:
            raise BadAnswers(f"bulk: of {SIZE} leads {ours.stored(tag)} are stored")
