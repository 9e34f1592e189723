"""`python -m ingest_api`: the server, who may use it, the importer, and the request log."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from marshmallow import ValidationError
from sqlalchemy import Connection

from ingest_api.auth import keys, users
from ingest_api.auth.source_command import source
from ingest_api.auth.users import UserError
from ingest_api.importer.command import import_file
from ingest_api.request_log.command import requests
from ingest_api.server import listeners
from schema.audit import trail
from schema.audit.event import Action, user_id
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
    stopping = asyncio.Event()
    Server(settings, lambda: app.create(settings, stopping), stopping).run()


def _prepare_metrics(settings: Settings) -> None:
    """Empty the directory of prometheus_client's multiprocess mode and export its name."""
    directory = settings.data_dir / "metrics" / "api"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


main.add_command(import_file)
main.add_command(requests)
main.add_command(source)


@main.group()
def user() -> None:
    """Make and change users. A password comes from a prompt, or from standard input."""


_roles = click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(users.ROLES),
    help="What the user may do: ingest sends leads, read reads them, export takes all of them out in one file, "
    "admin handles dead letters. May be given more than once.",
)


@user.command("create")
@click.argument("email")
@_roles
def create_user(email: str, roles: tuple[str, ...]) -> None:
    """Make a user who may log in."""
    password = _password()
    with _transaction() as connection:
        users.create(connection, email, password, list(roles))
        trail.record(connection, Action.USER_CREATED, parameters=roles, subject=user_id(email))
    click.echo(f"{email.lower()} may now log in as {', '.join(sorted(set(roles)))}.")


@user.command("list")
def list_users() -> None:
    """Show all users: address, roles, state, creation, and the id that logs and the audit trail have."""
    with _transaction() as connection:
        for each in users.list_all(connection):
            state = "disabled" if each.disabled else "enabled"
            created = f"{each.created_at:%Y-%m-%d %H:%M:%S}Z"
            click.echo(f"{each.email}\t{','.join(each.roles)}\t{state}\t{created}\t{user_id(each.email)}")


@user.command("passwd")
@click.argument("email")
def change_password(email: str) -> None:
    """Give a user another password. Tokens given out before end within seconds; a disabled user stays disabled."""
    password = _password()
    with _transaction() as connection:
        users.change_password(connection, email, password)
        found = users.find(connection, email)
        trail.record(connection, Action.USER_CHANGED, parameters=["password"], subject=user_id(email))
    still = " and is still disabled" if found is not None and found.disabled else ""
    click.echo(f"{email.lower()} has a new password{still}.")


@user.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Let a user log in no more. Tokens given out before end within seconds."""
    with _transaction() as connection:
        users.disable(connection, email)
        trail.record(connection, Action.USER_DISABLED, subject=user_id(email))
    click.echo(f"{email.lower()} can no longer log in.")


@user.command("enable")
@click.argument("email")
def enable_user(email: str) -> None:
    """Let a disabled user log in again, with the password of before."""
    with _transaction() as connection:
        users.enable(connection, email)
        trail.record(connection, Action.USER_CHANGED, parameters=["enabled"], subject=user_id(email))
    click.echo(f"{email.lower()} may log in again.")


@user.command("roles")
@click.argument("email")
@_roles
def set_roles(email: str, roles: tuple[str, ...]) -> None:
    """Give a user these roles and no others. Tokens given out before end within seconds."""
    with _transaction() as connection:
        users.set_roles(connection, email, list(roles))
        trail.record(connection, Action.USER_CHANGED, parameters=["roles", *roles], subject=user_id(email))
    click.echo(f"{email.lower()} may now log in as {', '.join(sorted(set(roles)))}.")


@user.command("delete")
@click.argument("email")
def delete_user(email: str) -> None:
    """Delete a user. Tokens given out before end within seconds."""
    with _transaction() as connection:
        users.delete(connection, email)
        trail.record(connection, Action.USER_DELETED, subject=user_id(email))
    click.echo(f"{email.lower()} is deleted.")


@main.group()
def key() -> None:
    """Change the keys of the tokens without logging anyone out: prepare, use, retire, and a restart after each.

    Between `use` and `retire` let a token's life pass (LEADS_TOKEN_TTL). See docs/operations.md.
    """


@key.command("prepare")
def prepare_key() -> None:
    """Make the next pair. After a restart its tokens are accepted; none is given out yet."""
    with _settings_errors():
        made = keys.prepare_next(load_settings())
    _audit_key("prepare", made)
    click.echo(f"{made} is next. Restart all API processes, then use it.")


@key.command("use")
def use_key() -> None:
    """Sign with the next pair from the next restart on; tokens of the one before stay good."""
    with _settings_errors():
        used = keys.use_next(load_settings())
    _audit_key("use", used)
    click.echo(f"{used} signs from the next restart on.")


@key.command("retire")
def retire_keys() -> None:
    """Accept no token of a former pair from the next restart on."""
    with _settings_errors():
        retired = keys.retire(load_settings())
    for each in retired:
        _audit_key("retire", each)
        click.echo(f"{each} is accepted no more from the next restart on.")


@key.command("list")
def list_keys() -> None:
    """Show the ids of the accepted keys; the first one signs."""
    with _settings_errors():
        for number, each in enumerate(keys.accepted(load_settings())):
            click.echo(f"{each}\t{'accepted' if number else 'signs'}")


def _audit_key(step: str, key: str) -> None:
    """Take down a change that is done. A stolen key can be changed while the database is away."""
    try:
        with connected() as connection, connection.begin():
            trail.record(connection, Action.KEY_CHANGED, parameters=[step], subject=key)
    except click.ClickException as error:
        click.echo(f"Not in the audit trail: {error.message}", err=True)


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
