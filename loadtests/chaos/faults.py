"""Injects faults at random, from one seed, and repairs them."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import psutil

from loadtests.chaos.systems import System
from tests.kit.servers import Server

# Targets and kinds of faults, with their weights.
KINDS = {"api": 2, "api child": 3, "worker": 4, "worker child": 4, "beat": 1, "redis": 2, "database": 2}
WAYS = {"kill -9": 4, "SIGSTOP": 2, "SIGTERM": 2}

# Shortest and longest time (seconds) that a process stays stopped, and that a killed server stays away.
STOPPED = (0.5, 12.0)
UNAVAILABLE = (0.2, 4.0)

SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM}


class Faults:
    """Breaks a system at random and repairs it."""

    def __init__(self, system: System, servers: dict[str, Server], *, seed: int, per_minute: float) -> None:
        self._system = system
        self._servers = servers
        self._random = random.Random(seed)
        self._per_minute = per_minute
        self._mending: list[tuple[float, Callable[[], None]]] = []  # pending repairs with their times
        self._busy: set[str] = set()  # servers that are broken now
        self.made: Counter[str] = Counter()

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Inject faults for `seconds`, then wait until all are repaired. `tell` is called with each fault's name."""
        end = time.monotonic() + seconds
        while True:
            pause = self._random.uniform(0.5, 1.5) * 60 / self._per_minute
            if time.monotonic() + pause > end:
                break
            self._mend_until(time.monotonic() + pause)
            kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
            way = self._random.choices(list(WAYS), list(WAYS.values()))[0]
            # Always drawn, so that a seed gives the same faults whatever the system does.
            share, chosen = self._random.random(), self._random.random()
            if self._break(kind, way, share, chosen):
                self.made[f"{way} {kind}"] += 1
                tell(f"{way} {kind}")
        self._mend_until(max([end, *(when for when, _ in self._mending)]))

    def _break(self, kind: str, way: str, share: float, chosen: float) -> bool:
        if kind in self._servers:
            return self._break_server(kind, way, share)
        processes = self._system.processes(kind)
        if not processes:
            return False
        process = processes[int(chosen * len(processes))]
        try:
            if way == "SIGSTOP":
                process.suspend()
                self._later(_between(STOPPED, share), lambda: _resume(process))
            else:
                process.send_signal(SIGNALS[way])
        except psutil.NoSuchProcess:
            return False
        return True

    def _break_server(self, kind: str, way: str, share: float) -> bool:
        server = self._servers[kind]
        if kind in self._busy:
            return False
        self._busy.add(kind)
        if way == "SIGSTOP":
            server.hang()
            mend = server.resume
        else:
            if way == "SIGTERM":
                psutil.Process(server.pid).terminate()
                psutil.wait_procs([psutil.Process(server.pid)], timeout=5)
            server.kill()
            mend = server.start

        def mended() -> None:
            mend()
            self._busy.discard(kind)

        self._later(_between(UNAVAILABLE, share), mended)
        return True

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._mending.append((time.monotonic() + seconds, action))

    def _mend_until(self, end: float) -> None:
        """Wait until `end` and make the repairs due, in this thread: a server dies with the thread that started it."""
        while self._mending:
            when, action = min(self._mending, key=lambda each: each[0])
            if when > end:
                break
            time.sleep(max(0.0, when - time.monotonic()))
            self._mending.remove((when, action))
            action()
        time.sleep(max(0.0, end - time.monotonic()))


def _between(span: tuple[float, float], share: float) -> float:
    return span[0] + (span[1] - span[0]) * share


def _resume(process: psutil.Process) -> None:
    try:
        process.resume()
    except psutil.NoSuchProcess:
        return
