"""Runs chaos on ours, or with --peer on another system: `make chaos ARGS="--minutes 5 --seed 7"`."""

import argparse
import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from loadtests.chaos import persons
from loadtests.chaos.changes import Follower
from loadtests.chaos.clients import Clients
from loadtests.chaos.faults import Faults
from loadtests.chaos.peers import PEERS, Peer
from loadtests.chaos.persons import number_of
from loadtests.chaos.queues import started
from loadtests.chaos.sources import Sources
from loadtests.chaos.systems import Ours, System, counted, drain
from loadtests.peers import bento
from tests.kit.databases import DATABASES, chosen


def main() -> int:
    """Return 0 when nothing was lost and nothing stored twice, else 1."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--faults", type=float, default=20, help="faults a minute")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300, help="leads a second, all clients together")
    parser.add_argument("--sources", type=int, default=0, help="send as so many sources, each with a daily cap")
    parser.add_argument("--persons", type=int, default=0, help="send leads of so many persons, and look for duplicates")
    parser.add_argument("--drain", type=float, default=180, help="longest wait for the backlog in the end, seconds")
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    parser.add_argument("--queue", choices=("one", "sentinel", "cluster"), default="one", help="the queue's servers")
    parser.add_argument("--peer", choices=tuple(PEERS), help="break this one instead of ours")
    options = parser.parse_args()
    if options.peer and options.queue != "one":
        parser.error("--peer: peers have one Redis; make chaos-hosts has the stock pipeline on Sentinel")
    if options.peer and options.sources:
        parser.error("--sources: peers know none")
    if options.persons and (options.peer or options.queue == "cluster"):
        parser.error("--persons: peers and queues of several shards look for no duplicates")
    if options.peer in ("bento", "bento-queue") and not bento.is_installed():
        print(f"SKIPPED: {bento.NOT_INSTALLED}")
        return 0
    server = chosen(options.database).of_disk()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as directory,
        server as database,
        started(options.queue) as queue,
    ):
        name = PEERS[options.peer].title if options.peer else "Lead Ingest"
        print(
            f"Chaos on {name}, with {database.title} {database.version()} and {queue.title} "
            "(appendonly yes, appendfsync always)"
        )
        print(
            f"seed {options.seed}, {options.minutes:g} min, {options.faults:g} faults a minute, "
            f"{options.clients} clients, {options.rate:g} leads/s",
            flush=True,
        )
        if options.peer:
            system: System = PEERS[options.peer](Path(directory), database, queue)
        else:
            system = Ours(Path(directory), database, queue, duplicate_days=30 if options.persons else 0)
        try:
            return run(system, {"database": database, "redis": queue.server}, Path(directory), options)
        finally:
            system.stop()


def run(system: System, servers: dict[str, object], directory: Path, options: argparse.Namespace) -> int:
    """Send leads while faults are injected, wait for the backlog, and report; return the exit status."""
    system.start()
    tokens, sources = [system.token], None
    if options.sources and isinstance(system, Ours):
        sources = Sources(options.sources, options.rate * options.minutes * 60, options.seed)
        tokens = sources.make(system)
    phones = [number_of(each) for each in range(options.persons or 1)]
    clients = Clients(
        [system.url],
        tokens,
        directory,
        number=options.clients,
        rate=options.rate,
        keys=not options.peer,
        phones=phones,
    )
    follower = Follower(system, directory, options.seed) if isinstance(system, Ours) else None
    faults = Faults(system, servers, seed=options.seed, per_minute=options.faults)
    begun = time.monotonic()
    clients.start()
    if follower is not None:
        follower.start()
    faults.run(options.minutes * 60, lambda what: print(f"  {time.monotonic() - begun:6.1f} s  {what}", flush=True))
    clients.stop()
    if follower is not None:
        follower.stop()
    drained = drain(system, options.drain)
    if follower is not None and follower.replay_rest():
        drain(system, options.drain)
    is_fine = report(system, clients, faults, drained)
    if sources is not None and isinstance(system, Ours):
        is_fine = report_sources(system, sources) and is_fine
    if follower is not None:
        is_fine = report_changes(follower) and is_fine
    if options.persons and isinstance(system, Ours):
        is_fine = report_persons(system) and is_fine
    print("PASSED" if is_fine else "FAILED")
    return 0 if is_fine else 1


def report_sources(system: Ours, sources: Sources) -> bool:
    """Print what the sources' caps allowed; tell whether that is what is stored."""
    problems = sources.problems(system)
    print(f"sources           {len(sources.caps):>9}   {sources.used_up(system)} with exactly their cap")
    print(f"off by source     {len(problems):>9}")
    for problem in problems:
        print(f"    {problem}")
    return not problems


def report_changes(follower: Follower) -> bool:
    """Print what the reader of `changes` has; tell whether that is each stored lead, once."""
    problems = follower.problems()
    print(f"read by changes   {follower.read():>9}   by a reader that was killed {follower.kills} times")
    print(f"stored late       {follower.late():>9}   after a lead that was accepted later")
    print(f"replayed          {follower.replayed:>9}   dead letters")
    print(f"off by changes    {len(problems):>9}")
    for problem in problems:
        print(f"    {problem}")
    return not problems


def report_persons(system: Ours) -> bool:
    """Print how many rows are duplicates; tell whether all leads of each person name the same first one."""
    number, problems = persons.problems(system)
    print(f"marked duplicates {number:>9}")
    print(f"off by person     {len(problems):>9}")
    for problem in problems:
        print(f"    {problem}")
    return not problems


def report(system: System, clients: Clients, faults: Faults, drained: float) -> bool:
    """Compare promises and rows, and print the result; tell whether nothing was lost and nothing stored twice."""
    promises = clients.promises()
    requests = clients.requests()
    rows = system.stored()
    stored, twice = counted(rows)
    dead = system.dead()
    missing = sum(promise.lead not in stored and promise.lead not in dead for promise in promises)
    # Leads that still wait are late, not lost.
    waiting = system.waiting()
    lost = max(0, missing - waiting)
    gaps = [after.at - before.at for before, after in pairwise(promises)]
    accepted = requests.pop("202", 0) + requests.pop("200", 0)  # Bento answers 200
    others = ", ".join(f"{name} {number}" for name, number in sorted(requests.items()))
    balance = system.balance()
    print()
    print(f"requests          {accepted + sum(requests.values()):>9}")
    print(f"accepted          {accepted:>9}")
    print(f"not accepted      {sum(requests.values()):>9}   {others}")
    print(f"faults            {faults.made.total():>9}")
    for fault, number in sorted(faults.made.items()):
        print(f"    {fault:<24} {number}")
    print(f"rows              {len(rows):>9}")
    print(f"dead letters      {len(dead):>9}")
    print(f"still waiting     {waiting:>9}")
    print(f"lost              {lost:>9}")
    print(f"duplicated        {twice:>9}")
    print(f"longest time without a 202  {max(gaps, default=0):.1f} s")
    print(f"backlog drained after       {drained:.1f} s")
    print(f"ledger: {balance}")
    fine = not lost and not twice and bool(promises) and not waiting
    return fine and (isinstance(system, Peer) or balance.startswith("Balanced"))


if __name__ == "__main__":
    sys.exit(main())
