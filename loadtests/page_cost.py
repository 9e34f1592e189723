"""Measures what open pages cost the API: `make bench-page`, or ARGS="--tabs 5 --seconds 20"."""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.processes import cpu_seconds, family
from tests.kit.page import LeadPage, lead_page
from tests.kit.service import Service

# The bar: so much of a core for TABS open pages.
TABS, SHARE_MAX = 20, 0.01

# Seconds that a page, and the service after its start, are given to come to rest.
REST = 10.0


@dataclass(frozen=True)
class Cost:
    """What the API processes did in a time."""

    share: float  # of a core
    requests: float  # a second


def main() -> int:
    """Return 0 when the pages cost no more than the bar and none shows an error, else 1."""
    parser = argparse.ArgumentParser(prog="make bench-page", description=__doc__)
    parser.add_argument("--tabs", type=int, default=TABS)
    parser.add_argument("--seconds", type=float, default=60, help="for each measurement")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="page-cost-") as directory,
        Service(Path(directory) / "service") as service,
        lead_page(Path(directory) / "browser") as page,
    ):
        service.token()
        time.sleep(REST)
        without = measure(service, options.seconds)
        print(f"{'no page':>10}: {without.share:.2%} of a core, {without.requests:.1f} requests a second", flush=True)
        tabs = open_tabs(page, service, options.tabs)
        time.sleep(REST)
        with_tabs = measure(service, options.seconds)
        name = f"{options.tabs} pages"
        print(f"{name:>10}: {with_tabs.share:.2%} of a core, {with_tabs.requests:.1f} requests a second", flush=True)
        faults = [f"page {number}: {fault}" for number, tab in enumerate(tabs, 1) for fault in faults_of(page, tab)]
    cost = with_tabs.share - without.share
    bar = SHARE_MAX * options.tabs / TABS
    print(f"{'cost':>10}: {cost:.2%} of a core, at most {bar:.2%}")
    if with_tabs.requests == 0:
        faults.append("the pages asked nothing")
    if cost > bar:
        faults.append("they cost too much")
    print("\n".join(faults) or "Passed", file=sys.stderr if faults else sys.stdout)
    return 1 if faults else 0


def measure(service: Service, seconds: float) -> Cost:
    """Return what the API does in so many seconds."""
    processes = family(service.one("api"))
    before, requests, began = cpu_seconds(processes), answered(service), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return Cost((cpu_seconds(processes) - before) / took, (answered(service) - requests) / took)


def answered(service: Service) -> float:
    """Return how many requests to the API were answered since its start."""
    lines = service.get("/metrics", token=None).text.splitlines()
    found = (line for line in lines if line.startswith("leads_http_requests_total{") and 'route="/api/' in line)
    return sum(float(line.rpartition(" ")[2]) for line in found)


def open_tabs(page: LeadPage, service: Service, number: int) -> list[str]:
    """Open so many pages, each logged in and seen; return their names for the browser."""
    tabs = []
    for _ in range(number):
        page.driver.switch_to.new_window("window")
        page.visit(service)
        page.log_in()
        page.wait(lambda: page.number("#waiting") is not None)
        tabs.append(page.driver.current_window_handle)
    page.errors()
    return tabs


def faults_of(page: LeadPage, tab: str) -> list[str]:
    """Return what is wrong with an open page."""
    page.driver.switch_to.window(tab)
    faults = page.errors()
    if page.run("return document.hidden"):
        faults.append("it is hidden, and asks nothing")
    if page.attribute("#main", "data-stale") != "false":
        faults.append("its numbers are old")
    if page.attribute("#state", "data-level") != "ok":
        faults.append(page.shown("#state-sentence"))
    return faults


if __name__ == "__main__":
    sys.exit(main())
