"""Accepting with millions of remembered persons beside accepting without: `python -m loadtests.bench.remembered`.

Both are ours, in alternating rounds; all leads are of new persons. The persons are spread over the days.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from itertools import count, islice
from pathlib import Path
from statistics import median

import psutil
import redis

from loadtests.bench import wrk
from loadtests.bench.accept import MAIN, STORING, WAITING, checked_stored
from loadtests.bench.contenders import Contender, Ours
from loadtests.bench.figures import new_tag, spread
from loadtests.bench.processes import cpu_seconds
from loadtests.bench.servers import bench_database
from schema.lead.contacts import CONTACT_SIZE
from schema.lead.lead_id import at
from schema.queue.keys import FIRST_LEADS_BITS, FIRST_LEADS_PREFIX, FIRST_LEADS_SINCE
from tests.kit.databases import DATABASES
from tests.kit.servers import RedisServer
from tests.kit.service import paused

DAYS = 30
PERIOD = DAYS // 2
DAY = 24 * 60 * 60

# What the workers do meanwhile, and connections.
WAYS = ((STORING, MAIN), (STORING, 128), (WAITING, MAIN))

# The bar: what is left of the rate without.
BAR = 0.9

# Hashes filled with one pipeline.
HASHES_AT_ONCE = 2_000


class Looking(Ours):
    """Ours with duplicates looked for."""

    name = "looking"
    what = f"ours with LEADS_DUPLICATE_DAYS={DAYS}"


def main() -> int:
    """Print both rates, their ratio, and what Redis holds for a person; return 1 when the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.remembered", description=__doc__)
    parser.add_argument("--persons", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        database = stack.enter_context(bench_database(options.database))
        queues = [stack.enter_context(RedisServer()) for _ in range(2)]
        print(f"{database.title} {database.version()}, Redis {queues[0].version()}")
        print(f"{options.persons:,} persons remembered, over {DAYS} days")
        size = fill(queues[1].client(), options.persons)
        print(f"a person takes {size:.0f} bytes of Redis", flush=True)
        without = Ours(directory / "ours", database, queues[0])
        looking = Looking(directory / "looking", database, queues[1])
        looking.service.settings["duplicate_days"] = DAYS
        for each in (without, looking):
            stack.callback(each.stop)
            each.start()
            each.check_answer()
        return tell(*measured([without, looking], options))


def fill(client: redis.Redis, persons: int) -> float:
    """Remember so many persons, spread over DAYS; return the bytes of Redis's memory for each."""
    before = int(client.info("memory")["used_memory"])
    now = int(time.time())
    client.set(FIRST_LEADS_SINCE, f"{now - 2 * DAYS * DAY}:{DAYS}")
    today = now // DAY
    # As append.lua has them: the present one, and two that reach back to the first of the days.
    periods = range(today - today % PERIOD, today - DAYS - PERIOD, -PERIOD)
    contacts = 2 * persons // (len(periods) << FIRST_LEADS_BITS)
    names = (f"{FIRST_LEADS_PREFIX}{DAYS}:{day}:{bits}" for day in periods for bits in range(1 << FIRST_LEADS_BITS))
    lead = at(now * 1_000_000)
    while some := list(islice(names, HASHES_AT_ONCE)):
        pipeline = client.pipeline(transaction=False)
        for name in some:
            pipeline.hset(name, items=[part for field in _fields(contacts) for part in (field, lead)])
            pipeline.expire(name, DAYS * DAY)
        pipeline.execute()
    filled = contacts * len(periods) << FIRST_LEADS_BITS
    return 2 * (int(client.info("memory")["used_memory"]) - before) / filled


def _fields(number: int) -> Iterator[bytes]:
    for _ in range(number):
        yield os.urandom(CONTACT_SIZE - 2)


Way = tuple[str, int]
Rates = dict[tuple[str, Way], list[float]]
Costs = dict[tuple[str, str], list[float]]


def measured(contenders: list[Contender], options: argparse.Namespace) -> tuple[Rates, Costs]:
    """Load both in turn; return answers a second, and processor time of a lead in µs, of each round."""
    rates: Rates = {}
    costs: Costs = {}
    phones = (f"+4{number}" for number in count(10))
    for _ in range(options.rounds):
        for way in WAYS:
            meanwhile, connections = way
            for each in contenders:
                parts = {"API": each.api(), "Redis": [psutil.Process(each.queue.pid)]}
                before = {part: cpu_seconds(processes) for part, processes in parts.items()}
                tag, phone = new_tag(), next(phones)
                with paused(each.worker()) if meanwhile == WAITING else nullcontext():
                    found = wrk.run(
                        each.url, each.token, tag, connections=connections, seconds=options.seconds, phone=phone
                    )
                spent = {part: cpu_seconds(processes) - before[part] for part, processes in parts.items()}
                checked_stored(each, tag, found)
                rates.setdefault((each.name, way), []).append(found.rate)
                if meanwhile == WAITING:
                    # Redis serves the workers, too, and then its time is not the cost of accepting.
                    for part, seconds in spent.items():
                        costs.setdefault((each.name, part), []).append(seconds / found.answers * 1e6)
    return rates, costs


def tell(rates: Rates, costs: Costs) -> int:
    """Print what was measured; return 1 when the bar is missed."""
    ratios = []
    for way in WAYS:
        ours, looking = rates["ours", way], rates["looking", way]
        ratios.append(median(looking) / median(ours))
        name = f"{way[1]} connections, {way[0]}"
        print(f"{name:<44}{spread(ours)} without, {spread(looking)} looking: {ratios[-1]:.2f} ×")
    for part in ("API", "Redis"):
        without, with_ = (median(costs[name, part]) for name in ("ours", "looking"))
        print(f"processor time of a lead, {part}: {without:.0f} µs without, {with_:.0f} µs looking")
    is_met = min(ratios) >= BAR
    print(f"{'✓' if is_met else '✗'} accepting, looking / without: {min(ratios):.2f} × (bar ≥ {BAR} ×)")
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
