"""`python -m schema`: the database's tables, and the reference of the settings."""

import click

from schema import configuration, database
from schema.cli import database_errors, load_settings


@click.group()
def main() -> None:
    """Look after what both sides agree on."""


@main.command()
@click.option("--revision", default="head", show_default=True, help="The revision to go to.")
def migrate(revision: str) -> None:
    """Bring the tables to a revision."""
    settings = load_settings()
    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    with database_errors():
        database.migrate(settings.primary_url, revision)
    click.echo("The tables are up to date.")


@main.command("configuration")
def show_configuration() -> None:
    """Print the reference of all settings as Markdown."""
    click.echo(configuration.reference(), nl=False)


main()
