"""Runs faults of whole hosts on ours, or with --stock on the stock pipeline: `make chaos-hosts ARGS="--minutes 5"`."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from loadtests.chaos.clients import Clients, Promise
from loadtests.chaos.systems import counted, drain
from loadtests.hosts import report
from loadtests.hosts.cluster_queue import ClusterQueue
from loadtests.hosts.faults import KINDS, Faults
from loadtests.hosts.group_database import GroupDatabase
from loadtests.hosts.health import Health
from loadtests.hosts.parts import Database, Queue, System
from loadtests.hosts.rows import Rows
from loadtests.hosts.sentinel_queue import SentinelQueue
from loadtests.hosts.systems import Ours, Stock
from tests.kit import isolation
from tests.kit.hosts import Host, Network

# Processes that send leads.
CLIENTS = 2

# Longest wait (seconds) for the backlog in the end.
DRAIN = 180.0


def main() -> int:
    """Return 0 when nothing was lost, doubled or unbalanced, and no worker ended by itself; else 1."""
    parser = argparse.ArgumentParser(prog="make chaos-hosts ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rate", type=float, default=60, help="leads a second")
    parser.add_argument("--every", type=float, default=60, help="least time from one fault to the next, seconds")
    parser.add_argument("--form", choices=("sentinel", "cluster"), default="sentinel")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2, help="replicas of each primary of a cluster")
    parser.add_argument("--only", default=",".join(KINDS), help=f"kinds of faults, of {','.join(KINDS)}")
    parser.add_argument("--stock", action="store_true", help="break the stock pipeline instead; under Sentinel only")
    parser.add_argument("--keep", type=Path, help="a directory for the hosts' logs")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(KINDS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    if options.stock and options.form != "sentinel":
        parser.error("--stock: Celery's broker cannot be a Redis Cluster")
    if not isolation.is_inside():
        if lacking := isolation.missing():
            print(f"make chaos-hosts cannot run: {lacking}", file=sys.stderr)
            return 1
        isolation.enter("loadtests.hosts")
    isolation.prepare()
    # The first process of a namespace is not ended by signals that it does not handle.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with tempfile.TemporaryDirectory(prefix="hosts-") as made, Network(options.hosts, Path(made)) as network:
        try:
            return run(network.hosts, Path(made), options)
        finally:
            if options.keep:
                keep(network.hosts, options.keep)


def run(hosts: list[Host], directory: Path, options: argparse.Namespace) -> int:
    """Start everything, send leads while hosts break, wait for the backlog, and report; return the exit status."""
    queue: Queue
    system: System
    database = GroupDatabase(hosts)
    if options.stock:
        queue = broker = SentinelQueue(hosts)
        system = Stock(hosts, broker, database)
    else:
        queue = ClusterQueue(hosts, replicas=options.replicas) if options.form == "cluster" else SentinelQueue(hosts)
        system = Ours(hosts, queue, database, directory)
    print(f"Chaos on {len(hosts)} hosts: {system.title}, {queue.title}, {database.title}")
    print(f"seed {options.seed}, {options.minutes:g} min, a fault every {options.every:g} s, {options.rate:g} leads/s")
    print(f"faults: {options.only}", flush=True)
    begun = time.monotonic()
    start(hosts, queue, database, system)
    print(f"started in {time.monotonic() - begun:.0f} s; {busy()}", flush=True)
    urls = [f"http://{host.address}:{system.port}" for host in hosts]
    clients = Clients(urls, [system.token], directory, number=CLIENTS, rate=options.rate, keys=not options.stock)
    rows = Rows(hosts, database, system, clients.files)
    begun = time.monotonic()
    health = Health(hosts, queue, database, system)
    faults = Faults(
        hosts,
        queue,
        database,
        health,
        seed=options.seed,
        kinds=options.only.split(","),
        every=options.every,
        tell=lambda what: print(f"  {time.monotonic() - begun:6.1f} s  {what}", flush=True),
    )
    clients.start()
    rows.start()
    faults.run(options.minutes * 60)
    clients.stop()
    drained = drain(system, DRAIN)
    rows.stop()
    return conclude(hosts, system, clients, faults, rows, drained)


def start(hosts: list[Host], queue: Queue, database: Database, system: System) -> None:
    """Start hosts and servers, and the system when they are one."""
    queue.install()
    for host in hosts:
        host.start()
    with ThreadPoolExecutor() as pool:
        for formed in [pool.submit(queue.form), pool.submit(database.install)]:
            formed.result()
    system.install()


def busy() -> str:
    """Return how busy the machine is: the times depend on it."""
    return f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}"


def conclude(hosts: list[Host], system: System, clients: Clients, faults: Faults, rows: Rows, drained: float) -> int:
    """Compare 202s and rows, and print the result; return the exit status."""
    promises = clients.promises()
    requests = clients.requests()
    found = system.stored()
    stored, twice = counted(found)
    dead = system.dead()
    waiting = system.waiting()
    missing = [each for each in promises if each.lead not in stored and each.lead not in dead]
    # Leads that still wait are late, not lost.
    lost = max(0, len(missing) - waiting)
    doubled = doubled_promises(promises, found)
    balance = system.balance()
    ends = report.ended_by_themselves(hosts)
    print()
    report.print_effects(faults.made, report.effects(faults.made, promises, rows.seen))
    print()
    others = ", ".join(f"{name} {number}" for name, number in sorted(requests.items()) if name != "202")
    print(f"202s              {len(promises):>9}   {sum(each.keyed for each in promises)} with a key")
    print(f"not answered 202  {sum(requests.values()) - requests['202']:>9}   {others}")
    print(f"rows              {len(found):>9}")
    print(f"dead letters      {len(dead):>9}")
    print(f"still waiting     {waiting:>9}   after {drained:.1f} s")
    print(f"lost              {lost:>9}   {', '.join(f'{each.lead} of {each.at:.1f}' for each in missing[:5])}")
    print(f"doubled           {max(twice, doubled):>9}")
    print(f"ledger: {balance}")
    for end, number in sorted(ends.items()):
        print(f"ended by itself: {end}, {number} times")
    for fault in faults.made:
        if not fault.whole:
            print(f"not well by itself after {fault.kind} ({fault.role}): {fault.ill}")
    fine = not (lost or twice or doubled or waiting or dead) and bool(promises)
    if not isinstance(system, Stock):
        fine = fine and balance.startswith("Balanced") and not any(not report.of_servers(end) for end in ends)
        fine = fine and all(fault.whole for fault in faults.made)
    print(busy())
    print("PASSED" if fine else "FAILED")
    return 0 if fine else 1


def doubled_promises(promises: list[Promise], found: list[tuple[str, str]]) -> int:
    """Return how many addresses have more than one row, or more than one id among their 202s."""
    rows = Counter(email for _, email in found)
    ids: dict[str, set[str]] = {}
    for promise in promises:
        ids.setdefault(promise.email, set()).add(promise.lead)
    return sum(rows[email] > 1 or len(answered) > 1 for email, answered in ids.items())


def keep(hosts: list[Host], directory: Path) -> None:
    """Copy the hosts' logs and journals to a directory."""
    for host in hosts:
        shutil.copytree(host.disk / "log", directory / host.name, dirs_exist_ok=True)
        shutil.copy(host.journal_file, directory / f"{host.name}.journal")


def _end(*_: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
