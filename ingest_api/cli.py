"""`python -m ingest_api`: the server, who may use it, the importer, and the request log."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from marshmallow import ValidationError
from sqlalchemy import Connection

from ingest_api.auth import keys, users
from ingest_api.auth.users import UserError
from ingest_api.importer.command import import_file
from ingest_api.request_log.command import requests
from ingest_api.server import listeners
from schema.cli import connected, load_settings
from schema.runtime import logs
from schema.settings import Settings, SettingsError, variable

# Longest time (seconds) to wait until the processes of the previous run have released the port.
PORT_TIMEOUT = 5.0

# Longest time (seconds) to retry the probe: Redis may still be starting.
PROBE_TIMEOUT = 30.0


@click.group()
def main() -> None:
    """Accept leads and read them back."""


@main.command()
def serve() -> None:
    """Serve the API until SIGTERM."""
    settings = load_settings()
    with _settings_errors():
        keys.ensure(settings)
    logs.configure("api", settings.log_level)
    _prepare_metrics(settings)
    # Late imports: prometheus_client reads PROMETHEUS_MULTIPROC_DIR when it is imported.
    from ingest_api import app
    from ingest_api.intake.probe import QueueTakesNothing, append_probe
    from ingest_api.intake.replication import check_replicas
    from ingest_api.server.gunicorn_app import Server

    try:
        listeners.check_free(settings.http_host, settings.http_port, PORT_TIMEOUT)
    except OSError as error:
        place = f"{settings.http_host} port {settings.http_port}"
        raise click.ClickException(f"{variable('http_port')}: cannot listen on {place}: {error.strerror}") from None
    try:
        append_probe(settings, PROBE_TIMEOUT)
    except QueueTakesNothing as error:
        raise click.ClickException(f"{variable('redis_url')}: the queue takes no leads: {error}") from None
    with _settings_errors():
        check_replicas(settings)
    sys.argv = sys.argv[:1]
    Server(settings, lambda: app.create(settings)).run()


def _prepare_metrics(settings: Settings) -> None:
    """Empty the directory of prometheus_client's multiprocess mode and export its name."""
    directory = settings.data_dir / "metrics" / "api"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


main.add_command(import_file)
main.add_command(requests)


@main.group()
def user() -> None:
    """Make and change users. A password comes from a prompt, or from standard input."""


@user.command("create")
@click.argument("email")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(users.ROLES),
    default=("ingest", "read"),
    show_default=True,
    help="What the user may do; may be given more than once.",
)
def create_user(email: str, roles: tuple[str, ...]) -> None:
    """Make a user who may log in."""
    password = _password()
    with _transaction() as connection:
        users.create(connection, email, password, list(roles))
    click.echo(f"{email.lower()} may now log in as {', '.join(sorted(roles))}.")


@user.command("list")
def list_users() -> None:
    """Show all users."""
    with _transaction() as connection:
        for each in users.list_all(connection):
            state = "disabled" if each.disabled else "enabled"
            click.echo(f"{each.email}\t{','.join(each.roles)}\t{state}\t{each.created_at:%Y-%m-%d %H:%M:%S}Z")


@user.command("passwd")
@click.argument("email")
def change_password(email: str) -> None:
    """Give a user another password; a disabled user may log in again."""
    password = _password()
    with _transaction() as connection:
        users.change_password(connection, email, password)
    click.echo(f"{email.lower()} has a new password.")


@user.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Let a user log in no more. A token given out before is good until it expires, an hour at most."""
    with _transaction() as connection:
        users.disable(connection, email)
    click.echo(f"{email.lower()} can no longer log in.")


@main.group()
def key() -> None:
    """Change the keys of the tokens without logging anyone out: prepare, use, retire, and a restart after each.

    Between `use` and `retire` let a token's life pass (LEADS_TOKEN_TTL). See docs/operations.md.
    """


@key.command("prepare")
def prepare_key() -> None:
    """Make the next pair. After a restart its tokens are accepted; none is given out yet."""
    with _settings_errors():
        click.echo(f"{keys.prepare_next(load_settings())} is next. Restart all API processes, then use it.")


@key.command("use")
def use_key() -> None:
    """Sign with the next pair from the next restart on; tokens of the one before stay good."""
    with _settings_errors():
        click.echo(f"{keys.use_next(load_settings())} signs from the next restart on.")


@key.command("retire")
def retire_keys() -> None:
    """Accept no token of a former pair from the next restart on."""
    with _settings_errors():
        for each in keys.retire(load_settings()):
            click.echo(f"{each} is accepted no more from the next restart on.")


@key.command("list")
def list_keys() -> None:
    """Show the ids of the accepted keys; the first one signs."""
    with _settings_errors():
        for number, each in enumerate(keys.accepted(load_settings())):
            click.echo(f"{each}\t{'accepted' if number else 'signs'}")


@contextmanager
def _settings_errors() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


@contextmanager
def _transaction() -> Iterator[Connection]:
    try:
        with connected() as connection, connection.begin():
            yield connection
    except UserError as error:
        raise click.ClickException(str(error)) from None
    except ValidationError as error:
        raise click.ClickException(" ".join(map(str, error.messages))) from None
