"""Injects faults into whole hosts, one after another, from one seed."""

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtests.hosts.health import Health
from loadtests.hosts.parts import Database, Queue
from tests.kit.hosts import Host

# Kinds of faults with their weights.
KINDS = {
    "lost": 4,
    "cut": 3,
    "deaf": 1,
    "mute": 1,
    "slow": 2,
    "paused": 2,
    "full": 2,
    "demoted-queue": 1,
    "demoted-database": 1,
    "database-killed": 1,
    "database-paused": 1,
    "two-in-a-row": 2,
}

# Shortest and longest time (seconds) that a fault lasts. A pause is longer than every timeout of the service.
LASTS = {"lost": (3.0, 15.0), "paused": (15.0, 20.0), "database-paused": (15.0, 20.0)}
OTHERS_LAST = (8.0, 18.0)

# Of a slow wire: milliseconds each way, and percent of frames lost.
DELAY, JITTER, LOSS = (50.0, 150.0), 0.3, 5.0

# Time (seconds) of load before the first fault, so that there is something to lose.
FIRST_AFTER = 5.0

MYSQLD = "/mysqld "


@dataclass
class Fault:
    """One fault, as it went. Times are seconds since 1970."""

    kind: str
    role: str  # what the host was: primary of the queue, of the database, of both, or none
    begun: float
    mended: float = 0.0
    whole: float = 0.0  # when all was well again; 0: not within the deadline
    ill: str = ""  # what was not well to the last


class Faults:
    """Breaks one host at a time, mends it, and waits until all is well."""

    def __init__(
        self,
        hosts: Sequence[Host],
        queue: Queue,
        database: Database,
        health: Health,
        *,
        seed: int,
        kinds: Sequence[str],
        every: float,
        tell: Callable[[str], None],
    ) -> None:
        """Take the least time (seconds) from one fault to the next, and who is told of each."""
        self._hosts = hosts
        self._queue = queue
        self._database = database
        self._health = health
        self._random = random.Random(seed)
        self._kinds = {kind: KINDS[kind] for kind in kinds}
        self._every = every
        self._tell = tell
        self.made: list[Fault] = []

    def run(self, seconds: float) -> None:
        """Inject faults for `seconds`; each kind comes before one comes twice. On return everything is mended."""
        end = time.monotonic() + seconds
        due = time.monotonic() + FIRST_AFTER
        left: list[str] = []
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + self._every
            left = left or self._round()
            fault = self._make(left.pop(0))
            self.made.append(fault)
            took = self._health.wait()
            fault.whole = time.time() if took is not None else 0.0
            fault.ill = self._health.last_ill
            known = f"well after {time.time() - fault.mended:.1f} s" if fault.whole else "NOT WELL"
            self._tell(f"    {known}; last was: {fault.ill}")
        time.sleep(max(0.0, end - time.monotonic()))

    def _round(self) -> list[str]:
        """Return all kinds once in random order, then some by their weights."""
        order = self._random.sample(list(self._kinds), k=len(self._kinds))
        return order + self._random.choices(order, [self._kinds[kind] for kind in order], k=len(order) // 2)

    def _make(self, kind: str) -> Fault:
        # Always drawn, so that a seed gives the same faults whatever the system does.
        preference, any_host, share, delay = (self._random.random() for _ in range(4))
        host = self._choose(preference, any_host)
        shortest, longest = LASTS.get(kind, OTHERS_LAST)
        lasts = shortest + (longest - shortest) * share
        if kind.startswith("database"):
            host = self._database.primary() or host
        fault = Fault(kind, self._role(host), time.time())
        if kind.startswith("demoted"):
            self._tell(f"{kind}: {(self._queue if kind.endswith('queue') else self._database).demote()}")
        elif kind == "database-killed":
            self._tell(f"{kind}: kill -9 of mysqld on {host.name} ({fault.role})")
            host.signal(MYSQLD, signal.SIGKILL)
        elif kind == "two-in-a-row":
            self._in_a_row(host, fault.role, lasts, any_host)
        else:
            self._tell(f"{kind}: {host.name} ({fault.role}) for {lasts:.0f} s")
            mend = self._break(kind, host, DELAY[0] + (DELAY[1] - DELAY[0]) * delay)
            time.sleep(lasts)
            mend()
        fault.mended = time.time()
        return fault

    def _choose(self, preference: float, any_host: float) -> Host:
        """Return a primary's host in two of three cases, since there most can be lost."""
        primaries = self._queue.primaries()
        if preference < 1 / 3 and primaries:
            return primaries[int(any_host * len(primaries))]
        if preference < 2 / 3 and (found := self._database.primary()):
            return found
        return self._hosts[int(any_host * len(self._hosts))]

    def _role(self, host: Host) -> str:
        roles = [
            "queue's primary" if host in self._queue.primaries() else "",
            "database's primary" if host is self._database.primary() else "",
        ]
        return " and ".join(filter(None, roles)) or "no primary"

    def _break(self, kind: str, host: Host, delay: float) -> Callable[[], None]:
        """Break the host, and return what mends it."""
        if kind == "lost":
            lose(host)
            return lambda: bring_back(host)
        if kind in ("paused", "full", "database-paused"):
            if kind == "database-paused":
                host.signal(MYSQLD, signal.SIGSTOP)
                return lambda: host.signal(MYSQLD, signal.SIGCONT)
            begin, mend = (host.pause, host.resume) if kind == "paused" else (host.fill_disk, host.free_disk)
            begin()
            return mend
        ways = {
            "cut": host.cut,
            "deaf": host.deafen,
            "mute": host.mute,
            "slow": lambda: host.slow(delay, delay * JITTER, LOSS),
        }
        ways[kind]()
        return host.join

    def _in_a_row(self, first: Host, role: str, lasts: float, any_host: float) -> None:
        """Lose a host, and another one as soon as the first one is back and in sync."""
        self._tell(f"two-in-a-row: {first.name} ({role}) for {lasts:.0f} s")
        lose(first)
        time.sleep(lasts)
        bring_back(first)
        took = self._health.wait_for_servers()
        others = [host for host in self._hosts if host is not first]
        wanted = [host for host in (*self._queue.primaries(), self._database.primary()) if host in others]
        second = (wanted or others)[int(any_host * len(wanted or others))]
        known = f"in sync after {took:.1f} s" if took is not None else "never in sync"
        self._tell(f"    {first.name} {known}; lost: {second.name} ({self._role(second)}) for {lasts:.0f} s")
        lose(second)
        time.sleep(lasts)
        bring_back(second)


def lose(host: Host) -> None:
    """Lose the host as by a power cut: nobody answers for it, not even with a reset."""
    host.cut()
    host.lose()


def bring_back(host: Host) -> None:
    """Start a host that was lost."""
    host.join()
    host.start()
