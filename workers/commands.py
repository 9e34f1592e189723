"""How worker, beat and Flower are started: Celery's command lines, and the environment that each needs."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import NoReturn

from schema.settings import Settings

# What Flower's list of tasks shows: the result says how many leads a ticket stored.
FLOWER_COLUMNS = "name,state,result,received,started,runtime,worker"

# Most tasks that Flower remembers, and how often it writes them down (milliseconds).
FLOWER_TASKS = 10_000
FLOWER_SAVE_INTERVAL = 10_000


@dataclass(frozen=True, slots=True)
class ProcessCommand:
    """A command line, and what is added to the environment."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def exec(self) -> NoReturn:
        """Put the command in the place of this process."""
        os.execve(self.command[0], self.command, {**os.environ, **self.environment})  # noqa: S606 (no shell is wanted)


def worker(settings: Settings) -> ProcessCommand:
    """Return how a worker is started, with an empty directory for the metrics of its pool processes."""
    directory = settings.data_dir / "metrics" / "worker"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # prometheus_client reads it at its import, which Celery does before it looks at our app: Flower is a part of it.
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    return ProcessCommand(_celery("worker", "-E", "--without-mingle", "--without-gossip"), environment)


def beat(settings: Settings) -> ProcessCommand:
    """Return how beat is started."""
    (settings.data_dir / "beat").mkdir(parents=True, exist_ok=True)
    return ProcessCommand(_celery("beat", "--pidfile="))


def flower(settings: Settings) -> ProcessCommand:
    """Return how Flower is started. What it has seen outlives a restart."""
    database = settings.flower_database_path
    database.parent.mkdir(parents=True, exist_ok=True)
    # Not as flags, which any user of the machine could read in the list of processes.
    environment = {
        "FLOWER_ADDRESS": settings.flower_host,
        "FLOWER_PORT": str(settings.flower_port),
        "FLOWER_BASIC_AUTH": f"{settings.flower_user}:{settings.flower_password}",
        "FLOWER_PERSISTENT": "true",
        "FLOWER_DB": str(database),
        "FLOWER_STATE_SAVE_INTERVAL": str(FLOWER_SAVE_INTERVAL),
        "FLOWER_MAX_TASKS": str(FLOWER_TASKS),
        "FLOWER_TASKS_COLUMNS": FLOWER_COLUMNS,
    }
    return ProcessCommand(_celery("flower"), environment)


def _celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers.app", "--quiet", *arguments]
