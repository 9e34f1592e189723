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

# Linux's file for the niceness of a session's autogroup (sched_autogroup(7)).
AUTOGROUP = Path("/proc/self/autogroup")

# Name of this process in the logs.
service = next((name for name in ("beat", "flower") if name in sys.argv), "worker")

app = celery_app(settings)
if service == "worker":
    app.conf.imports = ["workers.tasks"]


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    logs.configure(service, settings.log_level)


@worker_init.connect
def _step_back(**_: Any) -> None:
    os.nice(max(0, settings.worker_nice - os.nice(0)))
    if os.getsid(0) == os.getpid():
        # With autogroups, niceness counts only within a session, so the session needs it, too. Without them, or where
        # the file is not writable, as in a container, the process's niceness is all there is.
        with suppress(OSError):
            AUTOGROUP.write_text(str(settings.worker_nice))


@worker_ready.connect
def _answer_metrics(**_: Any) -> None:
    # Late import: beat and Flower have no worker metrics, and prometheus_client is set up when it is imported.
    from workers import metrics

    metrics.serve(settings)


def _alive(**_: Any) -> None:
    """Touch the file that tells the health check that this process reaches Redis."""
    (settings.data_dir / f"{service}.alive").touch()


if service == "worker":
    heartbeat_sent.connect(_alive)
elif service == "beat":
    after_task_publish.connect(_alive)
