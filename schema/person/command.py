"""`python -m schema person`: shows what is kept of a person, and erases it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
import orjson
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schema.audit import trail
from schema.audit.event import Action
from schema.cli import connected, database_errors, load_settings
from schema.database import engines
from schema.lead import codec, lead_id
from schema.person import files, kept_out, places
from schema.person.erasure import Erasure
from schema.person.files import FilesKept
from schema.person.identity import NotAPerson, Person
from schema.person.removal import NotNow
from schema.runtime.redis_clients import ShardClient, blocking_shards

PERSON_QUEUE_TIMEOUT = 30.0  # seconds

# Longest time (seconds) for one statement of a search, which reads the whole index of addresses.
SEARCH_TIMEOUT = 600.0


@click.group()
def person() -> None:
    """Show or erase what is kept of one person. See docs/privacy.md."""


def _named(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--phone", help="Their phone number, in international form.")(command)
    return click.option("--email", help="Their e-mail address, in upper or lower case.")(command)


@person.command()
@_named
def show(email: str | None, phone: str | None) -> None:
    """Print all that is kept of a person, one JSON object a line. That is personal data."""
    wanted = _person(email, phone)
    with _opened() as (shards, searching), searching.connect() as connection:
        found = places.search(connection, shards, wanted)
        since = kept_out.since(connection, wanted)
    lines = list(_lines(found, since))
    with connected() as writing, writing.begin():
        trail.record(writing, Action.PERSON_SHOWN, parameters=_names(email, phone), row_count=len(lines))
    for line in lines:
        click.echo(orjson.dumps(line, default=str))


@person.command()
@_named
@click.option("--keep-out", is_flag=True, help="Do not store what comes in of this person later.")
@click.confirmation_option(prompt="Erase all that is kept of this person, for good?")
def erase(email: str | None, phone: str | None, keep_out: bool) -> None:
    """Erase a person from rows, queue, dead letters, request log, idempotency keys, and the files of Redis and SQLite.

    It may be run again at any time, and finishes what a run that was killed has left.
    """
    wanted = _person(email, phone)
    with _opened() as (shards, searching), connected() as writing, searching.connect() as reading:
        files.overwrite_deleted(writing)
        if keep_out:
            with writing.begin():
                kept_out.add(writing, wanted)
            # So that each worker knows before the last search.
            time.sleep(kept_out.KEPT_OUT_AGE)
        erased = Erasure(reading, writing, shards).run(wanted)
        with writing.begin():
            number = sum(asdict(erased).values())
            trail.record(writing, Action.PERSON_ERASED, parameters=_names(email, phone), row_count=number)
        for name, number in asdict(erased).items():
            click.echo(f"{name:9} {number:>12}")
        reading.rollback()
        files.compact_sqlite(writing)
        files.rewrite_queue(shards)
    click.echo("Erased." + (" What comes in of this person later is not stored." if keep_out else ""))


@person.command("let-in")
@_named
def let_in(email: str | None, phone: str | None) -> None:
    """Store again what comes in of a person who was kept out."""
    wanted = _person(email, phone)
    with connected() as connection, connection.begin():
        number = kept_out.remove(connection, wanted)
        trail.record(connection, Action.PERSON_LET_IN, parameters=_names(email, phone), row_count=number)
    click.echo("Let in again." if number else "This person is not kept out.")


def _names(email: str | None, phone: str | None) -> list[str]:
    return [name for name, value in (("email", email), ("phone", phone)) if value]


def _person(email: str | None, phone: str | None) -> Person:
    try:
        return Person.of(email, phone)
    except NotAPerson as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _opened() -> Iterator[tuple[list[ShardClient], Engine]]:
    """Yield clients of the queue's shards and an engine for searches; turn errors into one line."""
    settings = load_settings()
    shards = blocking_shards(settings, timeout=PERSON_QUEUE_TIMEOUT)
    searching = engines.reader(settings.primary_url, timeout=SEARCH_TIMEOUT, pool_size=1)
    try:
        with database_errors():
            yield shards, searching
    except RedisError as error:
        raise click.ClickException(
            f"the queue does not answer: {type(error).__name__}. Does the service run? Run this again when it does"
        ) from None
    except (NotNow, FilesKept) as error:
        raise click.ClickException(str(error)) from None
    finally:
        searching.dispose()
        for _, client in shards:
            client.close()


def _lines(found: places.Found, since: Any) -> Iterator[dict[str, Any]]:
    for row in found.rows:
        yield {"place": "row", **_of_row(row)}
    for each in found.waiting:
        yield {"place": "dead letter" if each.is_dead else "queue", "entry": each.name, "lead": _text(each.payload)}
    for key in found.keys:
        where = "Redis" if key.shard else "database"
        lead = lead_id.to_text(key.remembered.lead)
        yield {"place": "idempotency key", "in": where, "key": key.remembered.key.hex(), "lead": lead}
    seen = set()
    for page in found.pages:
        for record in page.records:
            # An error is in both lists.
            if (record[0], record[2]) not in seen:
                seen.add((record[0], record[2]))
                yield {"place": "request log", "request_id": record[2], "record": record}
    if since is not None:
        yield {"place": "kept out", "since": codec.format_time(since)}


def _of_row(row: Any) -> dict[str, Any]:
    fields = {str(name): value for name, value in row._mapping.items()}
    moments = {name: codec.format_time(fields.pop(name)) for name in ("created_at", "updated_at")}
    parsed = {name: fields.pop(name) for name in ("additional_data", "consent")}
    first = fields["duplicate_of"]
    fields["id"] = lead_id.to_text(bytes(fields["id"]))
    fields["duplicate_of"] = lead_id.to_text(bytes(first)) if first else None
    return {**fields, **{name: orjson.Fragment(text) if text else None for name, text in parsed.items()}, **moments}


def _text(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
