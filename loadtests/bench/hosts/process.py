"""Processes that end with this one, inside of a host's bound or outside."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from compose.local.processes import MALLOC
from loadtests.bench.hosts.bound import Bound, Hierarchy
from loadtests.bench.processes import family
from tests.kit.service import ROOT

# Longest time (seconds) for a killed process to be gone.
STOP_DEADLINE = 10.0


class CannotStart(Exception):
    """A process ended before it was ready; the message has the end of its log."""


class Process:
    """`python -m MODULE COMMAND`, which runs until `stop`."""

    def __init__(self, module: str, command: str, environment: dict[str, str], log: Path, bound: Bound | None) -> None:
        self.name = command
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [*_tied(bound), "-m", module, command],
                cwd=ROOT,
                env={**environment, **MALLOC},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def check(self) -> None:
        """Raise CannotStart when it has ended."""
        if self._process.poll() is not None:
            raise CannotStart(f"{self.name} ended with {self._process.returncode}:\n{self._log.read_text()[-1000:]}")

    def family(self) -> list[psutil.Process]:
        """Return it and its children."""
        return family(psutil.Process(self._process.pid))

    def stop(self) -> None:
        """Kill it with its children: what it had is in the queue and in the database."""
        members: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            members = self.family()
        self._process.kill()
        self._process.wait()
        for each in members:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(members, STOP_DEADLINE)


class StandIn:
    """What an absent host would take from the machine: a loop within a bound of its own."""

    def __init__(self, hierarchy: Hierarchy, number: int) -> None:
        self.bound = Bound(hierarchy, f"stand-in-{number}")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.bound.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.bound.lift()
            self._process.kill()
            self._process.wait()
        self.bound.__exit__()

    def start(self, share: float) -> None:
        """Take the share from now on."""
        self.bound.hold(share)
        self._process = subprocess.Popen([*_tied(self.bound), "-c", "while True: pass"])

    def processes(self) -> list[psutil.Process]:
        """Return the loop's process."""
        return [psutil.Process(self._process.pid)] if self._process else []


def _tied(bound: Bound | None) -> list[str]:
    """Return the command of a Python that is killed when this process ends, within the bound if there is one."""
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *(bound.prefix() if bound else []), sys.executable]
