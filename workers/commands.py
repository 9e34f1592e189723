"""The commands that start worker, beat and Flower: Celery's command lines with their environment."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import NoReturn

from schema.settings import Settings

# Columns of Flower's list of tasks; the result of a ticket is the number of leads stored.
FLOWER_COLUMNS = "name,state,result,received,started,runtime,worker"

# Most tasks that Flower keeps, and the interval (milliseconds) at which it saves them.
FLOWER_TASKS = 10_000
FLOWER_SAVE_INTERVAL = 10_000


@dataclass(frozen=True, slots=True)
class ProcessCommand:
    """A command line and its additions to the environment."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def exec(self) -> NoReturn:
        """Replace this process by the command (execve)."""
        os.execve(self.command[0], self.command, {**os.environ, **self.environment})  # noqa: S606 (no shell is wanted)


def worker(settings: Settings) -> ProcessCommand:
    """Return a worker's command, and empty the metrics directory of its pool processes."""
    directory = settings.data_dir / "metrics" / "worker"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # In the environment, because prometheus_client reads it when imported: Celery imports Flower before our app.
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    return ProcessCommand(_celery("worker", "-E", "--without-mingle", "--without-gossip"), environment)


def beat(settings: Settings) -> ProcessCommand:
    """Return beat's command."""
    (settings.data_dir / "beat").mkdir(parents=True, exist_ok=True)
    return ProcessCommand(_celery("beat", "--pidfile="))


def flower(settings: Settings) -> ProcessCommand:
    """Return Flower's command. Its tasks survive a restart."""
    database = settings.flower_database_path
    database.parent.mkdir(parents=True, exist_ok=True)
    # Not as flags: any user of the machine can read those in the list of processes.
    environment = {
        "FLOWER_ADDRESS": settings.flower_host,
        "FLOWER_PORT": str(settings.flower_port),
        "FLOWER_BASIC_AUTH": f"{settings.flower_user}:{settings.flower_password}",
        "FLOWER_PERSISTENT": "true",
        "FLOWER_DB": str(database),
        "FLOWER_STATE_SAVE_INTERVAL": str(FLOWER_SAVE_INTERVAL),
        "FLOWER_MAX_TASKS": str(FLOWER_TASKS),
        "FLOWER_TASKS_COLUMNS": FLOWER_COLUMNS,
        # Its pages could stop workers and start tasks.
        "FLOWER_READ_ONLY": "true",
    }
    return ProcessCommand(_celery("flower"), environment)


def _celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers.app", "--quiet", *arguments]
