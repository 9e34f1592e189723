"""Shared by the command lines of API and workers: settings, a database connection, and errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from redis.exceptions import ResponseError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schema import settings
from schema.audit import waiting
from schema.audit.event import Event
from schema.database import engines
from schema.database.errors import reason_of
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings, SettingsError


def load_settings() -> Settings:
    """Read the settings. Raises ClickException with one line that names the wrong one."""
    try:
        return settings.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of the database into a ClickException of one line."""
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database refused: {reason_of(error)}") from None


@contextmanager
def connected() -> Iterator[Connection]:
    """Connect to the primary database. Raises ClickException with one line when it does not answer or refuses."""
    loaded = load_settings()
    engine = engines.writer(loaded.primary_url, timeout=loaded.database_timeout)
    try:
        with database_errors(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def write_event(shard: ShardClient, event: Event) -> None:
    """Write an event of a command that works on Redis. When too many wait, or Redis is full, say so and go on.

    Raises RedisError when Redis does not answer.
    """
    try:
        refused = waiting.append(shard, [event])
    except ResponseError as error:
        refused = 1
        click.echo(f"The queue refused the event: {type(error).__name__}.", err=True)
    if refused:
        click.echo(f"Not in the audit trail: {event.action} by {event.user}.", err=True)
