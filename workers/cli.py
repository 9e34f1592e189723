"""`python -m workers`: the processes that Celery runs, dead letters, and the ledger's balance."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

import click
from redis.exceptions import RedisError

from schema.audit import trail
from schema.audit.event import Action, Event, command_line_user, new_event
from schema.cli import connected, load_settings, write_event
from schema.lead import lead_id
from schema.ledger import Ledger, count_rows, read_ledger
from schema.queue.dead_letters import DeadLetter, DeadLetters, is_name
from schema.runtime.redis_clients import ShardClient, blocking_home_shard, blocking_shards
from schema.runtime.redis_errors import reason_of
from workers import commands

QUEUE_TIMEOUT = 5.0  # seconds


@click.group()
def main() -> None:
    """Look after the leads on their way to the database."""


@main.command()
def worker() -> None:
    """Store leads until SIGTERM."""
    commands.worker(load_settings()).exec()


@main.command()
def beat() -> None:
    """Send the sweeps until SIGTERM."""
    commands.beat(load_settings()).exec()


@main.command()
def flower() -> None:
    """Show the workers and their tasks on a web page until SIGTERM."""
    commands.flower(load_settings()).exec()


@main.group("dead-letters")
def dead_letters() -> None:
    """Leads that could not be stored. LETTER is the name that `list` shows."""


@dead_letters.command("list")
def list_letters() -> None:
    """Show all dead letters, without their fields: name, since when, lead id, reason."""
    with _opened() as (letters, _):
        for letter in letters:
            lead = lead_id.to_text(letter.lead) if letter.lead else "-"
            click.echo(f"{letter.name}\t{letter.since:%Y-%m-%d %H:%M:%S}Z\t{lead}\t{letter.reason}")


@dead_letters.command()
@click.argument("letter")
def show(letter: str) -> None:
    """Show one dead letter with the lead as it was accepted. That is personal data."""
    with _opened() as (letters, first):
        found = _find(letters, letter)
        write_event(first, replace(_event(Action.DEAD_LETTERS_SHOWN, letter), row_count=1))
        click.echo(f"reason: {found.reason}\nsince: {found.since.isoformat()}")
        click.echo(found.payload.decode(errors="replace"))


@dead_letters.command()
@click.argument("letter", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
def replay(letter: str | None, everything: bool) -> None:
    """Put dead letters back into the queue, after what kept them from being stored was mended."""
    with _opened() as (letters, first):
        chosen = _chosen(letters, letter, everything)
        # Before the first letter, for the case that it is killed, and again with the number.
        event = _event(Action.DEAD_LETTERS_REPLAYED, letter)
        write_event(first, event)
        number = sum(letters.replay(each) for each in chosen)
        write_event(first, replace(event, row_count=number))
    click.echo(f"{number} back in the queue.")


@dead_letters.command()
@click.argument("letter", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.confirmation_option(prompt="Delete accepted leads for good?")
def drop(letter: str | None, everything: bool) -> None:
    """Delete dead letters, and so their leads, for good."""
    with _opened() as (letters, _), connected() as connection:
        chosen = _chosen(letters, letter, everything)
        event = _event(Action.DEAD_LETTERS_DROPPED, letter)
        with connection.begin():
            trail.store(connection, [event])
        number = sum(letters.drop(each, connection) for each in chosen)
        with connection.begin():
            trail.store(connection, [replace(event, row_count=number)])
    click.echo(f"{number} deleted.")


@main.command()
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for numbers that hold still.")
def ledger(timeout: float) -> None:
    """Check that accepted = stored + expired + dead + dropped + erased + waiting, and that the counts equal the rows.

    The exit status is 1 when they do not. While leads come in, numbers move; the check waits
    until they hold still, or else judges the last.
    """
    settings = load_settings()
    shards = blocking_shards(settings, timeout=QUEUE_TIMEOUT)
    deadline = time.monotonic() + timeout
    with _queue_errors(), connected() as connection:

        def read() -> Ledger:
            with connection.begin():
                return read_ledger(connection, shards)

        before, now = None, read()
        while now != before and time.monotonic() < deadline:
            time.sleep(1)
            before, now = now, read()
        with connection.begin():
            rows = count_rows(connection)
    for _, client in shards:
        client.close()
    for name, number in asdict(now).items():
        click.echo(f"{name:9} {number:>12}")
    click.echo(f"{'rows':9} {rows:>12}")
    click.echo(now.verdict())
    if now.imbalance or rows != now.stored:
        if rows != now.stored:
            click.echo(f"The counts say {now.stored} are stored, the table holds {rows}.")
        raise SystemExit(1)


def _chosen(letters: DeadLetters, name: str | None, everything: bool) -> list[DeadLetter]:
    if everything == (name is not None):
        raise click.UsageError("Name one LETTER, or say --all.")
    return list(letters) if name is None else [_find(letters, name)]


def _find(letters: DeadLetters, name: str) -> DeadLetter:
    found = letters.find(name) if is_name(name) else None
    if found is None:
        raise click.ClickException(f"there is no dead letter {name}")
    return found


def _event(action: Action, letter: str | None) -> Event:
    """Return an event about one letter or, without a name, all."""
    name = letter or ""
    return new_event(action, user=command_line_user(), parameters=["letter" if letter else "all"], subject=name)


@contextmanager
def _opened() -> Iterator[tuple[DeadLetters, ShardClient]]:
    """Yield the dead letters, and a client of the shard that has the audit events."""
    settings = load_settings()
    shards, home = (
        blocking_shards(settings, timeout=QUEUE_TIMEOUT),
        blocking_home_shard(settings, timeout=QUEUE_TIMEOUT),
    )
    try:
        with _queue_errors():
            yield DeadLetters(shards), home
    finally:
        for _, client in (*shards, home):
            client.close()


@contextmanager
def _queue_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise click.ClickException(f"the queue does not answer: {reason_of(error)}") from None
