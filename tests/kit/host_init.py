"""The first process of a host (see tests.kit.hosts): starts its units, and restarts each that ends, as systemd would.

`python -m tests.kit.host_init UNITS JOURNAL`. UNITS is a JSON file: for each name a command and its environment. It is
read again at each start of a unit. Each start and end becomes a line of JOURNAL.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# Delay (seconds) before a unit that ended is started again, and the interval of the look for such units.
RESTART_DELAY = 1.0
LOOK_INTERVAL = 0.1


class Init:
    """The units of one host."""

    def __init__(self, units: Path, journal: Path) -> None:
        self._units = units
        self._journal = journal
        self._running: dict[int, str] = {}
        self._due: dict[str, float] = {}

    def run(self) -> None:
        """Start the units and keep them alive, for ever."""
        while True:
            self._reap()
            for name, unit in json.loads(self._units.read_text()).items():
                if name not in self._running.values() and time.monotonic() >= self._due.get(name, 0.0):
                    self._start(name, unit)
            time.sleep(LOOK_INTERVAL)

    def _start(self, name: str, unit: dict[str, Any]) -> None:
        try:
            with open(unit["log"], "ab") as log:
                process = subprocess.Popen(
                    unit["command"],
                    cwd=unit["directory"],
                    env=unit["environment"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            self._note(name, "not started", reason=str(error))
            self._due[name] = time.monotonic() + RESTART_DELAY
            return
        # Reaped below, with the orphans of all others.
        process.returncode = 0
        self._running[process.pid] = name
        self._note(name, "started", pid=process.pid)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                name = self._running.pop(pid, None)
                if name is not None:
                    # What it left behind: the next one must find its ports free.
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                    self._note(name, "ended", pid=pid, status=os.waitstatus_to_exitcode(status))
                    self._due[name] = time.monotonic() + RESTART_DELAY

    def _note(self, unit: str, what: str, **more: object) -> None:
        with self._journal.open("a") as journal:
            journal.write(json.dumps({"at": time.time(), "unit": unit, "what": what, **more}) + "\n")


if __name__ == "__main__":
    Init(Path(sys.argv[1]), Path(sys.argv[2])).run()
