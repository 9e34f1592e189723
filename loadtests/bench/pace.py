"""Loads a contender at a steady rate, and samples its backlog and memory meanwhile."""

import threading
import time
from dataclasses import dataclass, field

from loadtests.bench import wrk
from loadtests.bench.accept import checked_stored
from loadtests.bench.contenders import Contender
from loadtests.bench.figures import new_tag
from loadtests.bench.processes import memory
from loadtests.bench.wrk import Load

CONNECTIONS = 128

# A rate is sustained when the backlog at the end is at most the leads of BOUND seconds, and at least the share KEPT_UP
# of it was answered.
BOUND = 1.0
KEPT_UP = 0.98

# Intervals (seconds) of the samples of the backlog, and of the memory, which are expensive.
SAMPLE_INTERVAL = 0.25
MEMORY_INTERVAL = 5.0


@dataclass
class Held:
    """The result of a load at one rate."""

    asked: float  # leads per second
    load: Load
    backlog: list[int]  # samples, in order of time
    api: list[tuple[float, float]]  # samples of the largest RSS and USS of a process, MiB
    pool: list[tuple[float, float]]
    stored: int
    drained: float  # seconds from the end of the load until the queue was empty

    @property
    def bounded(self) -> bool:
        """Whether the rate was sustained."""
        last = sorted(self.backlog[-max(1, round(2 / SAMPLE_INTERVAL)) :])
        return self.load.rate >= self.asked * KEPT_UP and last[len(last) // 2] <= max(20.0, self.asked * BOUND)


@dataclass
class _Watch:
    contender: Contender
    backlog: list[int] = field(default_factory=list)
    api: list[tuple[float, float]] = field(default_factory=list)
    pool: list[tuple[float, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        next_memory = time.monotonic() + 1
        while not self.over.wait(SAMPLE_INTERVAL):
            self.backlog.append(self.contender.waiting())
            if time.monotonic() >= next_memory:
                next_memory += MEMORY_INTERVAL
                self.api.append(memory(self.contender.api()))
                self.pool.append(memory(self.contender.worker()[1:]))


def hold(contender: Contender, rate: float, seconds: float) -> Held:
    """Send `rate` leads per second for `seconds`; wait until all are stored, and check their number.

    Raises BadAnswers.
    """
    tag = new_tag()
    watch = _Watch(contender)
    watcher = threading.Thread(target=watch.run)
    watcher.start()
    try:
        found = wrk.run(contender.url, contender.token, tag, connections=CONNECTIONS, seconds=seconds, rate=rate)
    finally:
        watch.over.set()
        watcher.join()
    ended = time.monotonic()
    stored = checked_stored(contender, tag, found)
    return Held(rate, found, watch.backlog, watch.api, watch.pool, stored, time.monotonic() - ended)


def highest(contender: Contender, most: float, seconds: float, trials: int) -> float:
    """Find by bisection the highest sustained rate below `most`, to within most / 2**trials."""
    low, high = 0.0, most
    for _ in range(trials):
        rate = (low + high) / 2
        held = hold(contender, rate, seconds)
        verdict = "bounded" if held.bounded else "too much"
        print(
            f"    {contender.name}: {rate:,.0f}/s asked, {held.load.rate:,.0f}/s answered, "
            f"backlog at the end {held.backlog[-1]:,}: {verdict}",
            flush=True,
        )
        low, high = (rate, high) if held.bounded else (low, rate)
    return low
