"""Follows `changes` in a chaos run with a reader that is killed at random, and compares what it has with the rows.

Some leads are refused by the database for a while, become dead letters, and are replayed.
"""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loadtests.chaos.reader import answers
from loadtests.chaos.systems import Ours
from tests.kit.service import ROOT

# Shortest and longest life of the reader, and how long leads are refused and then not refused, seconds.
LIFE = (0.3, 6.0)
REFUSING = (2.0, 5.0)

# Longest time, seconds, in which the reader comes to the end once nothing is stored any more.
END_TIMEOUT = 60.0


class Follower:
    """The reader's killer, and what the reader has read."""

    def __init__(self, system: Ours, directory: Path, seed: int) -> None:
        self._system = system
        self._file = directory / "changes"
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._read_and_kill, self._refuse_and_replay)]
        self.kills = 0
        self.replayed = 0

    def start(self) -> None:
        """Begin to read, to kill the reader, and to refuse and replay leads."""
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """Kill the reader for the last time, and refuse no lead any more."""
        self._over.set()
        for each in self._threads:
            each.join()
        self._until_it_works(self._system.refuse_none)

    def replay_rest(self) -> int:
        """Put the dead letters of the last batches back into the queue, once nothing waits; return how many."""
        before = self.replayed
        self._until_it_works(self._replay)
        return self.replayed - before

    def problems(self) -> list[str]:
        """Let a reader come to the end; return a line for each way in which what it has is not what is stored."""
        expected = Counter(lead for lead, _ in self._system.stored())
        reader = self._reader()
        deadline = time.monotonic() + END_TIMEOUT
        while len(self._ids()) < expected.total() and time.monotonic() < deadline:
            time.sleep(0.2)
        # Time for what should not come.
        time.sleep(1)
        reader.kill()
        reader.wait()
        found = Counter(self._ids())
        problems = {
            "stored and never read": expected - found,
            "read more than once": Counter({lead: number - 1 for lead, number in found.items() if number > 1}),
            "read and not stored": Counter(found.keys() - expected.keys()),
        }
        wrong = [f"{what}: {leads.total()}" for what, leads in problems.items() if leads]
        # A run without these proves nothing.
        seen = {"kills of the reader": self.kills, "replayed leads": self.replayed, "late leads": self.late()}
        return wrong + [f"no {what}" for what, number in seen.items() if not number]

    def read(self) -> int:
        """Return how many leads the reader has."""
        return len(self._ids())

    def late(self) -> int:
        """Return how many leads were stored after one that was accepted later."""
        newest, late = "", 0
        for lead in self._ids():
            late += lead < newest
            newest = max(newest, lead)
        return late

    def _ids(self) -> list[str]:
        return [lead for answer in answers(self._file) for lead in answer["ids"]]

    def _reader(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "loadtests.chaos.reader", self._system.url, str(self._file)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)

    def _read_and_kill(self) -> None:
        while not self._over.is_set():
            reader = self._reader()
            self._over.wait(self._random.uniform(*LIFE))
            reader.kill()
            reader.wait()
            self.kills += 1

    def _refuse_and_replay(self) -> None:
        while not self._over.is_set():
            self._until_it_works(self._system.refuse_some)
            self._over.wait(self._random.uniform(*REFUSING))
            self._until_it_works(self._system.refuse_none)
            self._until_it_works(self._replay)
            self._over.wait(self._random.uniform(*REFUSING))

    def _replay(self) -> None:
        self.replayed += self._system.replay()

    def _until_it_works(self, action: Callable[[], None]) -> None:
        """Run an action again while servers are away."""
        deadline = time.monotonic() + END_TIMEOUT
        while True:
            with suppress(Exception):  # whatever a server answers that is being killed
                return action()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{action.__name__} does not work")
            time.sleep(0.5)
