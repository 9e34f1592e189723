"""The report of a run: its conditions and results, as text and as JSON."""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

from loadtests.bench.contenders import Contender
from loadtests.bench.figures import Findings
from loadtests.bench.servers import OPTIONS
from loadtests.bench.wrk import LEAD_BYTES
from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer

PACKAGES = ("falcon", "gunicorn", "uvicorn", "celery", "redis", "PyMySQL", "SQLAlchemy", "fastapi")


def opening(options: argparse.Namespace, findings: Findings, database: DatabaseServer, queue: RedisServer) -> None:
    """Print and record the conditions of the run."""
    how = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {processor()}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "redis": f"Redis {queue.version()}; appendonly yes, appendfsync always",
        "database": f"{database.title} {database.version()}; " + ", ".join(f"{k}={v}" for k, v in OPTIONS.items()),
        "load": f"wrk, one thread, on the same cores; a lead of {LEAD_BYTES} bytes with a new e-mail in every request",
        "processes": f"{options.processes} API processes each; workers of {options.workers} pool processes",
        "settings": "ours: as they come, but for LEADS_REDIS_TIMEOUT=10 and limits that are too high to reach",
    }
    findings.figures["how"] = how
    print("Lead Ingest, benchmark")
    for name, value in how.items():
        print(f"  {name:<10}{value}")
    print(flush=True)


def contenders(found: list[Contender]) -> None:
    """Print the contenders and the work that each leaves out."""
    print("Contenders")
    for each in found:
        print(f"  {each.name:<13}{each.what}")
        if each.not_done:
            print(f"               without: {each.not_done}")
    print(flush=True)


def closing(options: argparse.Namespace, findings: Findings, seconds: float) -> None:
    """Print the bars, and write JSON."""
    print(f"\nBars ({seconds:.0f} s in all)")
    for bar in findings.bars:
        print(f"  {bar}")
    for line in findings.skipped:
        print(f"  SKIPPED: {line}")
    findings.figures["bars"] = [
        {"what": bar.what, "value": bar.value, "bound": bar.bound, "unit": bar.unit, "met": bar.met}
        for bar in findings.bars
    ]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(findings.figures, indent=2, ensure_ascii=False) + "\n")
    print(f"\nFigures: {options.json}")


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
