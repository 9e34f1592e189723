"""Runs load tests: `make load-test`, `make load-test-sustained RATE=1000 MINUTES=2`, `make load-test-spike HOST=…`."""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from loadtests.shapes import plan
from loadtests.shapes.plan import Plan
from tests.kit.service import ROOT, Service

CLIENTS = "loadtests/shapes/clients.py"

PLANS = {"sustained": plan.sustained, "spike": plan.spike}

# Directory of the reports; git ignores it.
REPORTS = ROOT / "var" / "load-tests"


def main() -> int:
    """Run the plans given on the command line; return 1 when one missed a threshold."""
    parser = argparse.ArgumentParser(prog="make load-test", description=__doc__)
    parser.add_argument("plans", nargs="*", choices=[*PLANS, []], metavar="PLAN", help=" or ".join(PLANS))
    parser.add_argument("--host", default="", help="an address of the service; empty: start one")
    parser.add_argument("--rate", type=float, default=1000, help="requests a minute")
    parser.add_argument("--minutes", type=float, default=2, help="of each test")
    options = parser.parse_args()
    with ExitStack() as stack:
        host = options.host.rstrip("/")
        if not host:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-test-")))
            print("Starting the service on its embedded queue and database, without a rate limit", flush=True)
            # No rate limit, because all load comes from one address. The Redis timeout is the service's default.
            host = stack.enter_context(Service(directory, redis_timeout=0.9)).base_url
        return max(run(PLANS[name](options.rate, options.minutes), host) for name in options.plans or PLANS)


def run(chosen: Plan, host: str) -> int:
    """Run locust with a plan; return 1 when it missed a threshold or could not run."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{chosen.name}.html"
    rates = ", ".join(f"{stage.name} {stage.rate:g} requests/min for {stage.seconds:g} s" for stage in chosen.stages)
    print(f"\n{chosen.name}: {rates}\n", flush=True)
    command = [sys.executable, "-m", "locust", "--locustfile", CLIENTS, "--headless", "--host", host]
    quiet = ["--only-summary", "--loglevel", "ERROR", "--html", str(report)]
    with tempfile.NamedTemporaryFile("r", prefix="load-test-") as table:
        # The table is printed after locust's own summary.
        environment = {**os.environ, "LOAD_TEST_PLAN": chosen.to_json(), "LOAD_TEST_TABLE": table.name}
        done = subprocess.run([*command, *quiet], cwd=ROOT, env=environment, check=False)
        print(f"\n{table.read()}\n  Report: {report.relative_to(ROOT)}", flush=True)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
