"""`python -m ingest_api source`: makes and changes sources and their API keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import IO

import click
from sqlalchemy import Connection

from ingest_api.auth import sources
from ingest_api.auth.sources import DAILY_CAP_MAX, DEFAULT_DAYS, RATE_MAX, SOURCE_ROLES, Source, SourceError
from schema.audit import trail
from schema.audit.event import Action
from schema.cli import connected
from schema.lead.additional_data import SCHEMA_MAX
from schema.settings.queue import DUPLICATE_DAYS_MAX

# Hours for which the key before stays good when another one is made.
GRACE_DEFAULT = 24.0

_name = click.argument("name")
_rate = click.option("--rate", type=click.IntRange(0, RATE_MAX), help="Most leads a minute; 0: no limit.")
_daily_cap = click.option(
    "--daily-cap", type=click.IntRange(0, DAILY_CAP_MAX), help="Most leads a day (UTC); 0: no limit."
)
_duplicate_days = click.option(
    "--duplicate-days",
    type=click.IntRange(0, DUPLICATE_DAYS_MAX),
    help="Days within which its lead of a person who came before is a duplicate; 0: none is.  [default: "
    "LEADS_DUPLICATE_DAYS, which is also the most]",
)
_duplicates = click.option(
    "--duplicates",
    type=click.Choice(("mark", "refuse")),
    help="What becomes of its duplicates: they are stored and marked, or answered with 409.",
)
_roles = click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(SOURCE_ROLES),
    help="What its keys open: ingest sends leads, read reads its own, export takes its own out in one file. "
    "May be given more than once.",
)
_schema = click.option(
    "--additional-data-schema",
    "schema_file",
    metavar="FILE",
    type=click.File("rb"),
    help="A JSON Schema (draft 2020-12) that the additionalData of its leads has to fit; -: standard input.",
)


@click.group()
def source() -> None:
    """Make and change sources, who send leads with an API key. Running processes know of a change within seconds."""


@source.command("create")
@_name
@_rate
@_daily_cap
@_duplicate_days
@_duplicates
@_roles
@_schema
def create_source(
    name: str,
    rate: int | None,
    daily_cap: int | None,
    duplicate_days: int | None,
    duplicates: str | None,
    roles: tuple[str, ...],
    schema_file: IO[bytes] | None,
) -> None:
    """Make a source and show its API key, this once. By default it may send leads, any number, and read none."""
    roles = roles or ("ingest",)
    given = None if schema_file is None else _text(schema_file)
    with _transaction() as connection:
        key = sources.create(
            connection,
            name,
            roles,
            rate=rate or 0,
            daily_cap=daily_cap or 0,
            duplicate_days=duplicate_days,
            refuses_duplicates=duplicates == "refuse",
            additional_data_schema=given,
        )
        parameters = roles if given is None else (*roles, "additional_data_schema")
        trail.record(connection, Action.SOURCE_CREATED, parameters=parameters, subject=name)
    click.echo(key)
    click.echo(f"This is the key of {name}. It is shown this once and kept as a hash.", err=True)


@source.command("list")
def list_sources() -> None:
    """Show all sources: name, state, roles, rate, daily cap, keys that are good, creation."""
    with _transaction() as connection:
        for each in sources.list_all(connection):
            keys = f"{len(each.keys)} key{'' if len(each.keys) == 1 else 's'}"
            limits = f"{_limit(each.rate)}\t{_limit(each.daily_cap)}"
            click.echo(
                f"{each.name}\t{_state(each)}\t{','.join(each.roles)}\t{limits}\t{keys}\t{_time(each.created_at)}"
            )


@source.command("show")
@_name
@click.option("--additional-data-schema", "only_schema", is_flag=True, help="Print its schema alone, as it was given.")
def show_source(name: str, only_schema: bool) -> None:
    """Show one source with its keys, which are known by their first characters."""
    with _transaction() as connection:
        found = sources.find(connection, name)
    schema = found.additional_data_schema
    if only_schema:
        if schema is None:
            raise click.ClickException(f"{name} has no schema for additionalData.")
        click.echo(schema, nl=not schema.endswith("\n"))
        return
    click.echo(f"name       {found.name}\nstate      {_state(found)}\nroles      {', '.join(found.roles)}")
    click.echo(f"rate       {_limit(found.rate)} a minute\ndaily cap  {_limit(found.daily_cap)} a day")
    days = "as for users" if found.duplicate_days is None else f"within {found.duplicate_days} days"
    click.echo(f"duplicates {days}, {'refused' if found.refuses_duplicates else 'marked'}")
    shown = "any additionalData" if schema is None else f"a schema of {len(schema.encode())} bytes for additionalData"
    click.echo(f"fields     {shown}\ncreated    {_time(found.created_at)}")
    for key in found.keys:
        end = f"good until {_time(key.expires_at)}" if key.expires_at else "good until it is rotated"
        click.echo(f"key        {key.prefix}… of {_time(key.created_at)}, {end}")


@source.command("change")
@_name
@_rate
@_daily_cap
@_duplicate_days
@_duplicates
@_roles
@_schema
@click.option("--no-duplicate-days", "no_days", is_flag=True, help="Let LEADS_DUPLICATE_DAYS hold for it again.")
@click.option("--no-additional-data-schema", "no_schema", is_flag=True, help="Take any additionalData again.")
def change_source(
    name: str,
    rate: int | None,
    daily_cap: int | None,
    duplicate_days: int | None,
    duplicates: str | None,
    roles: tuple[str, ...],
    schema_file: IO[bytes] | None,
    no_days: bool,
    no_schema: bool,
) -> None:
    """Give a source other limits, other rules for duplicates, another schema, or these roles and no others."""
    if no_schema and schema_file is not None:
        raise click.UsageError("Give --additional-data-schema or --no-additional-data-schema, not both.")
    if no_days and duplicate_days is not None:
        raise click.UsageError("Give --duplicate-days or --no-duplicate-days, not both.")
    given = "" if no_schema else None if schema_file is None else _text(schema_file)
    with _transaction() as connection:
        changed = sources.change(
            connection,
            name,
            roles=roles,
            rate=rate,
            daily_cap=daily_cap,
            duplicate_days=DEFAULT_DAYS if no_days else duplicate_days,
            refuses_duplicates=None if duplicates is None else duplicates == "refuse",
            additional_data_schema=given,
        )
        if not changed:
            raise click.UsageError(
                "Give --rate, --daily-cap, --duplicate-days, --duplicates, --role or --additional-data-schema, "
                "or --no-duplicate-days or --no-additional-data-schema."
            )
        trail.record(connection, Action.SOURCE_CHANGED, parameters=[*changed, *roles], subject=name)
    click.echo(f"{name} is changed.")


@source.command("rotate")
@_name
@click.option(
    "--grace",
    type=click.FloatRange(0, 24 * 365),
    default=GRACE_DEFAULT,
    show_default=True,
    help="Hours for the key before.",
)
def rotate_key(name: str, grace: float) -> None:
    """Make another API key and show it, this once. The key before stays good for some hours; older ones end now."""
    with _transaction() as connection:
        key = sources.rotate(connection, name, timedelta(hours=grace))
        trail.record(connection, Action.SOURCE_KEY_CHANGED, subject=name)
    click.echo(key)
    click.echo(f"This is the new key of {name}. The one before is good for {grace:g} hours.", err=True)


@source.command("disable")
@_name
def disable_source(name: str) -> None:
    """Refuse a source's keys. What it has sent stays."""
    with _transaction() as connection:
        sources.disable(connection, name)
        trail.record(connection, Action.SOURCE_DISABLED, subject=name)
    click.echo(f"{name} can no longer send or read leads.")


@source.command("enable")
@_name
def enable_source(name: str) -> None:
    """Let a disabled source go on, with the keys of before."""
    with _transaction() as connection:
        sources.enable(connection, name)
        trail.record(connection, Action.SOURCE_CHANGED, parameters=["enabled"], subject=name)
    click.echo(f"{name} may go on.")


def _text(file: IO[bytes]) -> str:
    """Return the text of a schema's file, no more of which is read than tells that it is too large."""
    content = file.read(SCHEMA_MAX + 1)
    if len(content) > SCHEMA_MAX:
        raise click.ClickException(f"{file.name} is larger than {SCHEMA_MAX} bytes.")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name} is not text in UTF-8.") from None
    if not text.strip():
        raise click.ClickException(f"{file.name} is empty.")
    return text


def _state(found: Source) -> str:
    return "disabled" if found.disabled else "enabled"


def _limit(number: int) -> str:
    return str(number) if number else "unlimited"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


@contextmanager
def _transaction() -> Iterator[Connection]:
    try:
        with connected() as connection, connection.begin():
            yield connection
    except SourceError as error:
        raise click.ClickException(str(error)) from None
