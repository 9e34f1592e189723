"""Measures hosts that are held to a share of a core each: `make bench-hosts ARGS="--share 0.25 --hosts 1,2,3,4"`."""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

from loadtests.bench import chart
from loadtests.bench.hosts import table
from loadtests.bench.hosts.bound import PERIOD, SHARE_MIN, CannotBind, Hierarchy, hierarchy
from loadtests.bench.hosts.measuring import Plan, measure
from loadtests.bench.hosts.process import CannotStart
from loadtests.bench.hosts.round import Round, Saturated
from loadtests.bench.hosts.site import CLUSTER, ONE_REDIS, Site
from loadtests.bench.report import PACKAGES, processor
from loadtests.bench.servers import OPTIONS, bench_database
from loadtests.bench.wrk import LEAD_BYTES, BadAnswers
from tests.kit.databases import DATABASES, DatabaseServer
from tests.kit.servers import RedisServer

# What the chart says of a form.
WHERE = {ONE_REDIS: "one Redis, outside of the hosts", CLUSTER: "Cluster, a shard on each host"}

FORMS = {"redis": ONE_REDIS, "cluster": CLUSTER}


def main() -> int:
    """Return 0 when all that was answered is stored and the figures are the hosts', 1 when not.

    With --strict also 1 when a bar is missed.
    """
    options = _options()
    # As Ctrl-C, so that everything is stopped and the cgroups are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds: list[Round] = []
    try:
        bounds = hierarchy()
        with bench_database(options.database) as database:
            how = _opening(options, bounds, database)
            _run(options, bounds, database, rounds)
    except CannotBind as error:
        print(f"Cannot hold hosts to a share: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 1
    except (BadAnswers, Saturated, CannotStart) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    groups = table.groups_of(rounds)
    for lines in (table.rates(groups), table.costs(groups)):
        print("\n" + "\n".join(lines))
    bars = table.bars(groups)
    print("\nBars\n" + "\n".join(f"  {bar}" for bar in bars))
    title = f"Leads a second, each host held to {options.share:g} of a core"
    forms = dict.fromkeys(each.form for each in groups)
    chart.draw_hosts(title, {WHERE[form]: _points(groups, form) for form in forms}, options.chart)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found = {"how": how, "rounds": [asdict(each) for each in rounds]}
    options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    print(f"Figures: {options.json}")
    return int(options.strict and not all(bar.met for bar in bars))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-hosts ARGS=...", description=__doc__)
    parser.add_argument("--hosts", default="1,2,3,4", help="numbers of hosts")
    parser.add_argument("--forms", default=",".join(FORMS), help=f"where the queue is: {', '.join(FORMS)}")
    parser.add_argument("--share", type=float, default=0.25, help="of a core, for each host")
    parser.add_argument("--connections", type=int, default=16, help="to each host")
    parser.add_argument("--keys", action="store_true", help="give each lead an Idempotency-Key")
    parser.add_argument(
        "--stand-ins", action="store_true", help="let loops take what absent hosts would, so that all find it as busy"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="length of a round")
    parser.add_argument("--warm-up", type=float, default=2, help="seconds")
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    parser.add_argument("--json", type=Path, default=Path("var/bench/hosts.json"))
    parser.add_argument("--chart", type=Path, default=Path("var/bench/hosts.png"))
    parser.add_argument("--busy", action="store_true", help="keep the rounds in which others left the machine no room")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    options = parser.parse_args()
    options.hosts = sorted(int(each) for each in options.hosts.split(","))
    options.forms = options.forms.split(",")
    if unknown := set(options.forms) - set(FORMS):
        parser.error(f"no such form: {', '.join(sorted(unknown))}")
    if options.share < SHARE_MIN:
        parser.error(f"--share: the least is {SHARE_MIN:g}")
    return options


def _opening(options: argparse.Namespace, bounds: Hierarchy, database: DatabaseServer) -> dict[str, str]:
    """Print and return the conditions of the run."""
    how = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {processor()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "redis": f"Redis {_redis_version()}; appendonly yes, appendfsync always",
        "database": f"{database.title} {database.version()}; " + ", ".join(f"{k}={v}" for k, v in OPTIONS.items()),
        "host": f"an API and a worker of one process each, {options.share:g} of a core together "
        f"(cgroup v{bounds.version}, periods of {PERIOD / 1000:g} ms); in the Cluster a primary without replicas, too",
        "outside": "database, beat, wrk, the broker's Redis; in the form of one Redis that is the queue as well",
        "load": f"a wrk for each host, {options.connections} connections; a lead of {LEAD_BYTES} bytes in each request"
        + (", with an Idempotency-Key" if options.keys else ""),
        "stand-ins": "loops take the share of each absent host" if options.stand_ins else "none",
        "settings": "as they come, but for LEADS_RATE_LIMIT=0 and LEADS_REDIS_TIMEOUT=10",
        "rounds": f"{options.rounds} of {options.seconds:g} s in turns, each on new processes, warmed up for "
        f"{options.warm_up:g} s; median (least–greatest)",
    }
    print("Lead Ingest, hosts")
    for name, value in how.items():
        print(f"  {name:<10}{value}")
    print(flush=True)
    return how


def _redis_version() -> str:
    with RedisServer() as queue:
        return queue.version()


def _run(options: argparse.Namespace, bounds: Hierarchy, database: DatabaseServer, rounds: list[Round]) -> None:
    """Add all rounds that are the hosts' figures. Raises Saturated when a form and number of hosts has none."""
    plan = Plan(options.share, options.connections, options.seconds, options.warm_up, options.keys)
    left_out: dict[tuple[str, int], Saturated] = {}
    for number, form, hosts in product(range(options.rounds), options.forms, options.hosts):
        stand_ins = (max(options.hosts) - hosts) * options.stand_ins
        with (
            tempfile.TemporaryDirectory(prefix="bench-hosts-") as directory,
            Site(FORMS[form], hosts, bounds, database, Path(directory), stand_ins=stand_ins) as site,
        ):
            found = measure(site, plan)
        print(f"  round {number + 1}: {found.line()}", flush=True)
        try:
            found.check(busy=options.busy)
        except Saturated as error:
            print(f"    LEFT OUT: {error}", flush=True)
            left_out[found.form, found.hosts] = error
        else:
            rounds.append(found)
    for place, failure in left_out.items():
        if place not in {(each.form, each.hosts) for each in rounds}:
            raise failure


def _points(groups: list[table.Group], form: str) -> dict[int, tuple[float, float]]:
    """Return accepted and stored leads a second by number of hosts."""
    return {each.hosts: (each.accepted, each.stored) for each in groups if each.form == form}


if __name__ == "__main__":
    sys.exit(main())
