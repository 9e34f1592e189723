"""The Celery app of workers, beat and Flower: `celery -A workers.app worker -E`."""

import sys
from typing import Any

import click
from celery.signals import setup_logging

from schema import logs
from schema import settings as settings_module
from schema.settings import SettingsError
from schema.tickets import celery_app

try:
    settings = settings_module.load()
except SettingsError as error:
    raise click.ClickException(str(error)) from None

app = celery_app(settings)
app.conf.imports = ["workers.tasks"]


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    service = next((name for name in ("beat", "flower") if name in sys.argv), "worker")
    logs.configure(service, settings.log_level)
