"""What the command lines of both sides share: settings that are checked, and errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schema import settings
from schema.database import engines
from schema.database.errors import reason_of
from schema.settings import Settings, SettingsError


def load_settings() -> Settings:
    """Read the settings, or end the command with one line that says which is wrong."""
    try:
        return settings.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def database_errors() -> Iterator[None]:
    """End the command with one line when the database does not answer or refuses."""
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database refused: {reason_of(error)}") from None


@contextmanager
def connected() -> Iterator[Connection]:
    """Connect to the database; end the command with one line when it does not answer or refuses."""
    loaded = load_settings()
    engine = engines.writer(loaded.primary_url, timeout=loaded.database_timeout)
    try:
        with database_errors(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
