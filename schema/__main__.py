"""`python -m schema`: the database's tables, one person's data, and the references."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from schema import configuration, storage
from schema.cli import connected, database_errors, load_settings
from schema.counts import maintain
from schema.database import engines
from schema.database.migrations import runner
from schema.database.migrations.runner import MigrationFailed
from schema.person.command import person


@click.group()
def main() -> None:
    """Look after what both sides agree on."""


main.add_command(person)


@main.command()
@click.option("--revision", default="head", show_default=True, help="The revision to go to.")
@click.option("--before", is_flag=True, help="Only what the code that runs now can live with.")
def migrate(revision: str, before: bool) -> None:
    """Bring the tables to a revision."""
    settings = load_settings()
    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
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
    if wrong:
        raise SystemExit(1)
    click.echo("The counts equal the rows.")


@main.command("storage")
def show_storage() -> None:
    """Print the reference of Redis's keys and the database's tables as Markdown."""
    click.echo(storage.reference(), nl=False)


@main.command("configuration")
def show_configuration() -> None:
    """Print the reference of all settings as Markdown."""
    click.echo(configuration.reference(), nl=False)


main()
