"""The Celery app of workers, beat and Flower: `celery -A workers.app worker -E`."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from celery.signals import after_task_publish, heartbeat_sent, setup_logging, worker_init, worker_ready

from schema import settings as settings_module
from schema.queue.tickets import celery_app
from schema.runtime import logs
from schema.settings import SettingsError

try:
    settings = settings_module.load()
except SettingsError as error:
    raise click.ClickException(str(error)) from None

# Where Linux takes the niceness of a whole session.
AUTOGROUP = Path("/proc/self/autogroup")

# Which of them this process is.
service = next((name for name in ("beat", "flower") if name in sys.argv), "worker")

app = celery_app(settings)
app.conf.imports = ["workers.tasks"]


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    logs.configure(service, settings.log_level)


@worker_init.connect
def _step_back(**_: Any) -> None:
    os.nice(max(0, settings.worker_nice - os.nice(0)))
    if os.getsid(0) == os.getpid():
        # Linux may share the processors between sessions, and a process's niceness counts within its own alone. Where
        # it does not (sched_autogroup(7)), or nobody may write there, as in a container, nothing is to be done.
        with suppress(OSError):
            AUTOGROUP.write_text(str(settings.worker_nice))


@worker_ready.connect
def _answer_metrics(**_: Any) -> None:
    # Not before: beat and Flower have none of these, and prometheus_client decides at its import how it counts.
    from workers import metrics

    metrics.serve(settings)


def _alive(**_: Any) -> None:
    """Touch the file by which a health check sees that worker and beat reach Redis."""
    (settings.data_dir / f"{service}.alive").touch()


if service == "worker":
    heartbeat_sent.connect(_alive)
elif service == "beat":
    after_task_publish.connect(_alive)
