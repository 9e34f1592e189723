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
        print(f"{'no page':>25}: {without.share:.2%} of a core, {without.requests:.1f} requests a second", flush=True)
        faults: list[str] = []
        costs: dict[str, float] = {}
        for kind, name in (("tab", "tabs, one seen"), ("window", "windows, all seen")):
            opened = open_pages(page, service, options.tabs, kind)
            time.sleep(REST)
            found = measure(service, options.seconds)
            costs[kind] = found.share - without.share
            print(
                f"{f'{options.tabs} {name}':>25}: {found.share:.2%} of a core, {found.requests:.1f} requests a second, "
                f"cost {costs[kind]:.2%}",
                flush=True,
            )
            # Of a page that is seen 0.55 a second: fewer of all are not seen.
            if found.requests < (0.4 if kind == "tab" else 0.4 * options.tabs):
                faults.append(f"of the {options.tabs} {name}, too few asked")
            faults += close_pages(page, opened)
    bar = SHARE_MAX * options.tabs / TABS
    if costs["tab"] > bar:
        faults.append(f"the tabs cost too much: at most {bar:.2%}")
    print("\n".join(faults) or "Passed", file=sys.stderr if faults else sys.stdout)
    return 1 if faults else 0


def measure(service: Service, seconds: float) -> Cost:
    """Return what the API does in so many seconds."""
    processes = family(service.one("api"))
    before, requests, began = cpu_seconds(processes), service.answered(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return Cost((cpu_seconds(processes) - before) / took, (service.answered() - requests) / took)


def open_pages(page: LeadPage, service: Service, number: int, kind: str) -> list[str]:
    """Open so many pages, each logged in, as a "tab" or a "window"; return their names for the browser.

    A browser shows one tab of a window; those behind it are hidden.
    """
    opened = []
    for _ in range(number):
        page.driver.switch_to.new_window(kind)
        page.visit(service)
        page.log_in()
        page.wait(lambda: page.number("#waiting") is not None)
        opened.append(page.driver.current_window_handle)
    page.errors()
    return opened


def close_pages(page: LeadPage, opened: list[str]) -> list[str]:
    """Close open pages; return what is wrong with them."""
    faults = []
    first = next(each for each in page.driver.window_handles if each not in opened)
    for number, name in enumerate(opened, 1):
        page.driver.switch_to.window(name)
        faults += [f"page {number}: {error}" for error in page.errors()]
        if page.attribute("#state", "data-level") != "ok":
            faults.append(f"page {number}: {page.shown('#state-sentence')}")
        page.driver.close()
    page.driver.switch_to.window(first)
    return faults


if __name__ == "__main__":
    sys.exit(main())
