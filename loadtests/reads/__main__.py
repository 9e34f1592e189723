"""Fills a table and measures lists: `make bench-read`, or `make bench-read ROWS=10000000`."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from sqlalchemy import Engine

from loadtests.reads import filling
from loadtests.reads.lists import Kind, System, ids_by_sql, kinds, rows_examined
from schema import counts, database
from tests.servers import MariaDBServer, RedisServer, until
from tests.system.service import ROOT, Service, free_port

# Beside the table: what a small server would have, and what an import needs.
OPTIONS = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G", "--max-allowed-packet=64M")

HEADER = f"{'':28}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'1 conn/s':>10}{'32 conn/s':>11}{'rows read':>12}"


def main() -> int:
    """Return 0 when every answer was right, else 1."""
    parser = argparse.ArgumentParser(prog="make bench-read", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=360, help="the time over which the leads came in")
    parser.add_argument("--seconds", type=float, default=3, help="for each measurement")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-read-") as directory,
        MariaDBServer(*OPTIONS) as server,
        RedisServer() as queue,
    ):
        url = server.create_database()
        database.migrate(url)
        print(f"{options.rows:,} leads in MariaDB, buffer pool 2 GiB, over {options.days} days, a tenth in one minute")
        # What the fill promises to nobody need not be on disk at each COMMIT.
        with server.variable("innodb_flush_log_at_trx_commit", "2"):
            filling.fill(url, options.rows, options.days)
        engine = database.reader(url, timeout=600, pool_size=1)
        service = Service(Path(directory), redis_url=queue.url, database_url=url)
        # Rows are counted over all connections, so as root.
        try:
            with service, usual(url, Path(directory)) as peer:
                ours = System("Lead Ingest", service.base_url, service.headers())
                return report(ours, peer, engine, options.rows, options.seconds)
        finally:
            engine.dispose()


@contextmanager
def usual(url: str, directory: Path) -> Iterator[System]:
    """Run the usual endpoint, with as many processes as the service has."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "loadtests.peers.usual_list:app",
        "--port",
        str(port),
        "--no-access-log",
    ]
    with (directory / "usual.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", str(os.cpu_count() or 1)],
            cwd=ROOT,
            env={**os.environ, "USUAL_DATABASE_URL": url},
            stdout=log,
            stderr=log,
        )
    try:
        system = System("FastAPI, ORM, COUNT(*), OFFSET", f"http://127.0.0.1:{port}", {})
        until(lambda: _answers(system), 60)
        yield system
    finally:
        process.terminate()
        process.wait(20)


def _answers(system: System) -> bool:
    try:
        return system.get({"limit": 1, "email": "nobody@example.com"}).status_code == 200
    except httpx.HTTPError:
        return False


def report(ours: System, peer: System, engine: Engine, rows: int, seconds: float) -> int:
    """Measure and print; return the exit status."""
    wrong = 0
    with engine.connect() as connection:
        wrong += counts.total(connection) != rows
    for system in (ours, peer):
        print(f"\n{system.name}\n{HEADER}", flush=True)
        for kind in kinds(rows):
            wrong += _check(system, kind, engine, rows, ours=system is ours)
            _line(system, kind.name, kind.parameters, engine, seconds)
        if system is ours:
            cursor = ours.get({"sortBy": "lastName"}).json()["data"]["pagination"]["next_cursor"]
            _line(ours, "lastName, by cursor", {"sortBy": "lastName", "cursor": cursor}, engine, seconds)
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * 86400))
            _line(ours, "a day, page 2", {"createdFrom": day, "createdTo": day, "page": 2}, engine, seconds)
            tag = ours.get({}).headers["ETag"]
            _line(ours, "If-None-Match: 304", {}, engine, seconds, 304, **{"If-None-Match": tag})
    print("\nEvery answer was right." if not wrong else f"\n{wrong} lists were WRONG.")
    return 1 if wrong else 0


def _check(system: System, kind: Kind, engine: Engine, rows: int, *, ours: bool) -> bool:
    """Compare a list with what plain SQL says; return whether it is wrong."""
    answer = system.get(kind.parameters).json()
    if not ours:
        return "email" not in kind.parameters and bool(answer["total"] != rows)
    data = answer["data"]
    total = len(ids_by_sql(engine, kind)) if "email" in kind.parameters else rows
    return [item["id"] for item in data["items"]] != ids_by_sql(engine, kind) or data["pagination"]["total"] != total


def _line(
    system: System,
    name: str,
    parameters: dict[str, object],
    engine: Engine,
    seconds: float,
    status: int = 200,
    **headers: str,
) -> None:
    # Each process once, so that none is measured while it connects.
    system.measure(parameters, 8, 0.3, status, **headers)
    before = rows_examined(engine)
    looked = rows_examined(engine)
    system.get(parameters, **headers)
    examined = rows_examined(engine) - looked - (looked - before)
    alone = system.measure(parameters, 1, seconds, status, **headers)
    crowd = system.measure(parameters, 32, seconds, status, **headers)
    p50, p95, p99 = alone.percentiles()
    bad = f"  {alone.wrong + crowd.wrong} WRONG" if alone.wrong + crowd.wrong else ""
    print(f"{name:28}{p50:9.2f}{p95:9.2f}{p99:9.2f}{alone.rate:10.0f}{crowd.rate:11.0f}{examined:12,}{bad}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
