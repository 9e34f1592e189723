"""`python -m schema`: the database's tables, one person's data, and the references."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from schema import configuration, storage
from schema.audit import report, trail
from schema.audit.event import Action, user_id
from schema.cli import connected, database_errors, load_settings
from schema.counts import by_source, maintain
from schema.database import engines
from schema.database.migrations import runner
from schema.database.migrations.runner import MigrationFailed
from schema.person.command import person
from schema.reshard import queue


@click.group()
def main() -> None:
    """Look after what both sides agree on."""


main.add_command(person)
main.add_command(queue)


@main.command()
@click.option("--revision", default="head", show_default=True, help="The revision to go to.")
@click.option("--before", is_flag=True, help="Only what the code that runs now can live with.")
def migrate(revision: str, before: bool) -> None:
    """Bring the tables to a revision."""
    settings = load_settings()
    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _migration_errors():
        runner.migrate(settings.primary_url, revision, before=before)
    click.echo("The tables are up to date.")


@main.command()
@click.argument("revision")
def downgrade(revision: str) -> None:
    """Take the tables back to the revision of an earlier release. Stop the workers before."""
    with _migration_errors():
        runner.downgrade(load_settings().primary_url, revision)
    click.echo(f"The tables are at revision {revision}.")


@contextmanager
def _migration_errors() -> Iterator[None]:
    """End the command with one line when a migration fails."""
    try:
        with database_errors():
            yield
    except MigrationFailed as error:
        raise click.ClickException(str(error)) from None


@main.command("counts")
@click.option("--rebuild", is_flag=True, help="Make them anew from the rows. Storing waits meanwhile.")
def check_counts(rebuild: bool) -> None:
    """Check the counts by time against the rows. The exit status is 1 when they differ.

    It reads every id, and while leads are stored, sees them as they were when it began.
    """
    with connected() as connection:
        if rebuild:
            with connection.begin():
                number = maintain.rebuild(connection)
                trail.record(connection, Action.COUNTS_REBUILT, row_count=number)
            click.echo(f"The counts are made anew from {number} rows.")
            return
        wrong = 0
        # On SQLite each transaction is a snapshot, and it knows no name for that.
        if connection.dialect.name != "sqlite":
            connection.execution_options(isolation_level=engines.SNAPSHOT)
        with connection.begin():
            for width, bucket, counted, rows in maintain.differences(connection):
                place = "in all" if width == maintain.ALL_TIME else f"in {width / 1e6:g} s from {bucket / 1e6:.6f}"
                click.echo(f"{place}: {counted} counted, {rows} rows")
                wrong += 1
            for counts in by_source.KINDS:
                for source, width, bucket, counted, rows in counts.differences(connection):
                    whose = f"{counts.label} of {source or 'all'}"
                    click.echo(f"{whose} in {width} s from {bucket}: {counted} counted, {rows} rows")
                    wrong += 1
    if wrong:
        raise SystemExit(1)
    click.echo("The counts equal the rows.")


@main.command("audit")
@click.option("--user", default="", help="An e-mail address, a user's id, or cli:NAME.")
@click.option("--action", type=click.Choice([each.value for each in Action]), help="What was done.")
@click.option("--since", default="", help="Events of the last 30m, 24h or 7d.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000), help="Most events.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def show_audit_trail(user: str, action: str | None, since: str, limit: int, as_json: bool) -> None:
    """Show who did what, the newest at the bottom."""
    try:
        start = report.start_of(since) if since else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    with connected() as connection, connection.begin():
        name = user_id(user) if "@" in user else user
        events = trail.find(connection, user=name, action=action, since=start, number=limit)
    click.echo(report.lines(events) if as_json else report.table(events), nl=False)


@main.command("storage")
def show_storage() -> None:
    """Print the reference of Redis's keys and the database's tables as Markdown."""
    click.echo(storage.reference(), nl=False)


@main.command("configuration")
def show_configuration() -> None:
    """Print the reference of all settings as Markdown."""
    click.echo(configuration.reference(), nl=False)


main()
