"""`python -m workers`: what an operator does with dead letters."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
from redis.exceptions import RedisError

from schema import lead_id
from schema.cli import load_settings
from schema.connections import blocking_redis
from workers.dead_letters import DeadLetter, DeadLetters

TIMEOUT = 5.0  # seconds


@click.group()
def main() -> None:
    """Look after the leads on their way to the database."""


@main.group("dead-letters")
def dead_letters() -> None:
    """Leads that could not be stored. LETTER is the name that `list` shows."""


@dead_letters.command("list")
def list_letters() -> None:
    """Show all dead letters, without their fields: name, since when, lead id, reason."""
    with _opened() as letters:
        for letter in letters:
            lead = lead_id.to_text(letter.lead) if letter.lead else "-"
            click.echo(f"{letter.name}\t{letter.since:%Y-%m-%d %H:%M:%S}Z\t{lead}\t{letter.reason}")


@dead_letters.command()
@click.argument("letter")
def show(letter: str) -> None:
    """Show one dead letter with the lead as it was accepted. That is personal data."""
    with _opened() as letters:
        found = _find(letters, letter)
        click.echo(f"reason: {found.reason}\nsince: {found.since.isoformat()}")
        click.echo(found.payload.decode(errors="replace"))


@dead_letters.command()
@click.argument("letter", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
def replay(letter: str | None, everything: bool) -> None:
    """Put dead letters back into the queue, after what kept them from being stored was mended."""
    with _opened() as letters:
        number = sum(letters.replay(each) for each in _chosen(letters, letter, everything))
    click.echo(f"{number} back in the queue.")


@dead_letters.command()
@click.argument("letter", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.confirmation_option(prompt="Delete accepted leads for good?")
def drop(letter: str | None, everything: bool) -> None:
    """Delete dead letters, and so their leads, for good."""
    with _opened() as letters:
        number = sum(letters.drop(each) for each in _chosen(letters, letter, everything))
    click.echo(f"{number} deleted.")


def _chosen(letters: DeadLetters, name: str | None, everything: bool) -> list[DeadLetter]:
    if everything == (name is not None):
        raise click.UsageError("Name one LETTER, or say --all.")
    return list(letters) if name is None else [_find(letters, name)]


def _find(letters: DeadLetters, name: str) -> DeadLetter:
    found = letters.find(name) if re.fullmatch(r"\d{1,20}(-\d{1,20})?", name, re.ASCII) else None
    if found is None:
        raise click.ClickException(f"there is no dead letter {name}")
    return found


@contextmanager
def _opened() -> Iterator[DeadLetters]:
    client = blocking_redis(load_settings(), timeout=TIMEOUT)
    try:
        yield DeadLetters(client)
    except RedisError as error:
        raise click.ClickException(f"the queue does not answer: {type(error).__name__}") from None
    finally:
        client.close()
