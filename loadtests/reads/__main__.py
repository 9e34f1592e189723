"""Fills a table and measures lists: `make bench-read`, or `make bench-read ROWS=10000000`."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, text

from loadtests.reads import filling
from loadtests.reads.lists import Kind, System, ids_by_sql, kinds, rows_examined
from loadtests.reads.storing import lists_while_storing
from schema.database import engines
from schema.database.migrations.runner import migrate
from tests.kit.databases import DATABASES, chosen
from tests.kit.ports import free_port
from tests.kit.servers import RedisServer, until
from tests.kit.service import ROOT, Service

# Buffer pool of a small server, and a packet size that the import needs.
OPTIONS = ("--innodb-buffer-pool-size=2G", "--max-allowed-packet=64M")

# Leads stored and lists read per second.
STORED, LISTED = 2000, 30

# Number of consecutive checks, 0.1 s apart, that must find the database idle.
CALM = 20

# The list that the bars refer to.
FIRST = "createdAt, page 1"

HEADER = f"{'':28}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'1 conn/s':>10}{'32 conn/s':>11}{'rows read':>12}"


@dataclass(frozen=True)
class Line:
    """The figures of a line of the table that the bars need."""

    p50: float  # milliseconds
    alone: float  # answers per second on one connection
    crowd: float  # answers per second on 32 connections
    wrong: int


def main() -> int:
    """Return 0 when every answer was right and every bar reached, else 1."""
    parser = argparse.ArgumentParser(prog="make bench-read", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=360, help="the time over which the leads came in")
    parser.add_argument("--seconds", type=float, default=3, help="for each measurement")
    parser.add_argument("--storing", type=float, default=20, help="seconds of lists while leads are stored; 0: none")
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    options = parser.parse_args()
    kind = chosen(options.database)
    with (
        tempfile.TemporaryDirectory(prefix="bench-read-") as directory,
        kind.of_disk(*OPTIONS, f"--{kind.redo_log}=1G") as server,
        RedisServer() as queue,
    ):
        url = server.create_database()
        migrate(url)
        print(
            f"{options.rows:,} leads in {server.title} {server.version()}, buffer pool 2 GiB, "
            f"over {options.days} days, a tenth in one minute"
        )
        # The fill needs no fsync at each COMMIT.
        with server.variable("innodb_flush_log_at_trx_commit", "2"):
            filling.fill(url, options.rows, options.days)
        engine = engines.reader(url, timeout=600, pool_size=1)
        service = Service(Path(directory), redis_url=queue.url, database_url=url)
        # The counters of read rows cover all connections.
        try:
            with service:
                ours = System("Lead Ingest", service.base_url, service.headers())
                with usual(url, Path(directory)) as peer:
                    wrong, bars = compare(ours, peer, engine, options.rows, options.seconds)
                # After the usual endpoint has ended: it may have minutes of queries left for closed connections.
                if options.storing:
                    wrong += while_storing(ours, engine, options.storing, bars)
            return verdict(wrong, bars)
        finally:
            engine.dispose()


@contextmanager
def usual(url: str, directory: Path) -> Iterator[System]:
    """Run the usual endpoint, with as many processes as the service."""
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
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            # Its open requests take longer than that.
            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                each.kill()
            process.wait()


def _answers(system: System) -> bool:
    try:
        return system.get({"limit": 1, "email": "nobody@example.com"}).status_code == 200
    except httpx.HTTPError:
        return False


Bar = tuple[str, bool]  # the line to print, and whether the bar was reached


def compare(ours: System, peer: System, engine: Engine, rows: int, seconds: float) -> tuple[int, list[Bar]]:
    """Measure the lists of both systems and print them; return the number of wrong answers, and the bars."""
    wrong = 0
    lines: dict[str, Line] = {}
    usual_first = 0.0
    for system in (ours, peer):
        print(f"\n{system.name}\n{HEADER}", flush=True)
        for kind in kinds(rows):
            wrong += _check(system, kind, engine, rows, ours=system is ours)
            line = _line(system, kind.name, kind.parameters, engine, seconds)
            wrong += line.wrong
            if system is ours:
                lines[kind.name] = line
            elif kind.name == FIRST:
                # When a list takes a second, 32 connections may get no answer within `seconds`.
                usual_first = max(line.crowd, line.alone)
        if system is ours:
            cursor = ours.get({"sortBy": "lastName"}).json()["data"]["pagination"]["next_cursor"]
            wrong += _line(ours, "lastName, by cursor", {"sortBy": "lastName", "cursor": cursor}, engine, seconds).wrong
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * 86400))
            parameters = {"createdFrom": day, "createdTo": day, "page": 2}
            wrong += _line(ours, "a day, page 2", parameters, engine, seconds).wrong
            tag = ours.get({}).headers["ETag"]
            unchanged = _line(ours, "If-None-Match: 304", {}, engine, seconds, 304, **{"If-None-Match": tag})
            wrong += unchanged.wrong
    first = lines[FIRST]
    deepest = max(line.p50 for name, line in lines.items() if name.startswith("createdAt"))
    bars = [
        bar("page 1, 32 connections, times the usual endpoint", first.crowd / max(usual_first, 0.001), least=40),
        bar("page 1, 32 connections, lists a second", first.crowd, least=1000),
        bar("304 against page 1, 32 connections, times", unchanged.crowd / first.crowd, least=4),
        bar("p50 of the slowest page by createdAt against page 1, times", deepest / first.p50, most=3),
    ]
    return wrong, bars


def while_storing(ours: System, engine: Engine, seconds: float, bars: list[Bar]) -> int:
    """Measure lists while leads are stored, print them and add their bars; return the number of faults."""
    _wait_until_calm(engine)
    found = lists_while_storing(ours, engine, STORED, LISTED, seconds)
    p50, p95, p99 = found.measured.percentiles()
    print(
        f"\nWhile {STORED:,} leads a second come in, {LISTED} lists a second: page 1, the middle, the last\n"
        f"  {found.accepted:,} accepted, {found.stored_rate:,.0f} stored/s, {len(found.measured.took):,} lists: "
        f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms\n"
        f"  total compared with the rows {found.checks} times and at the end: "
        f"{'; '.join(found.faults[:5]) or 'never wrong, never back'}",
        flush=True,
    )
    bars.append(bar("p99 of lists while leads are stored, ms", p99, most=50))
    bars.append(bar("leads stored a second meanwhile", found.stored_rate, least=0.95 * STORED))
    return len(found.faults)


def verdict(wrong: int, bars: list[Bar]) -> int:
    """Print the bars; return the exit status: 1 when an answer was wrong or a bar was missed."""
    print("\nThe bars", *(line for line, _ in bars), sep="\n")
    print("\nEvery answer was right." if not wrong else f"\n{wrong} answers were WRONG.")
    return 1 if wrong or not all(reached for _, reached in bars) else 0


def _wait_until_calm(engine: Engine) -> None:
    """Wait until no statement of the usual endpoint runs any more for clients that have disconnected."""
    calm = 0

    def is_calm() -> bool:
        nonlocal calm
        with engine.connect() as connection:
            states = [row.Command for row in connection.execute(text("SHOW PROCESSLIST"))]
        # One is this statement. MySQL's event scheduler is a daemon, which always runs.
        running = sum(state not in ("Sleep", "Daemon") for state in states)
        # Several times in a row: a new statement may start when one ends.
        calm = calm + 1 if running <= 1 else 0
        return calm >= CALM

    until(is_calm, 300, 0.1)


def bar(name: str, value: float, *, least: float = 0, most: float = float("inf")) -> Bar:
    """Return the line to print for a bar, and whether it was reached."""
    reached = least <= value <= most
    asked = f"at least {least:,.0f}" if least else f"at most {most:,.0f}"
    return f"  {'✓' if reached else '✗'} {name}: {value:,.1f} ({asked})", reached


def _check(system: System, kind: Kind, engine: Engine, rows: int, *, ours: bool) -> bool:
    """Compare a list with the result of plain SQL; return whether it is wrong."""
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
) -> Line:
    # Warms up every process, so that connecting is not measured.
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
    return Line(p50, alone.rate, crowd.rate, alone.wrong + crowd.wrong)


if __name__ == "__main__":
    sys.exit(main())
