"""Sources: who sends leads with an API key, what they may do, and how many leads of theirs are accepted.

The API reads changes within periodic_read.READ_INTERVAL.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from schema.counts import totals
from schema.database.tables import source_keys, sources
from schema.lead.additional_data import AdditionalDataSchema, SchemaRefused
from schema.lead.source import SOURCE_NAME_PATTERN, hash_of, is_name, new_key, prefix_of

SOURCE_ROLES = ("export", "ingest", "read")

# Most leads that a limit may be set to: what the columns hold.
RATE_MAX = 2**31 - 1
DAILY_CAP_MAX = 2**53 - 1  # Lua's and JSON's whole numbers


# In place of a source's own number of duplicate days: LEADS_DUPLICATE_DAYS holds for it.
DEFAULT_DAYS = -1


class SourceError(Exception):
    """A source cannot be made or changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class SourceKey:
    """An API key without its secret."""

    prefix: str
    created_at: datetime  # UTC, naive, as all times here
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Source:
    """A source with its keys, those that are over left out."""

    name: str
    roles: list[str]
    rate: int  # leads a minute; 0: no limit
    daily_cap: int  # leads a day; 0: no limit
    duplicate_days: int | None  # None: LEADS_DUPLICATE_DAYS
    refuses_duplicates: bool
    disabled: bool
    created_at: datetime
    keys: list[SourceKey]  # the oldest first
    additional_data_schema: str | None = None  # JSON, as it was given


def create(
    connection: Connection,
    name: str,
    roles: Iterable[str],
    *,
    rate: int = 0,
    daily_cap: int = 0,
    duplicate_days: int | None = None,
    refuses_duplicates: bool = False,
    additional_data_schema: str | None = None,
) -> str:
    """Make a source; return its first API key, which is kept as a hash alone.

    `additional_data_schema` is a JSON Schema as text. Raises SourceError when the name is taken or not allowed, a role
    or the schema is, or an upgrade is not finished.
    """
    _check_schema(additional_data_schema)
    if totals.is_upgrading(connection):
        # Workers of release 0.1 would store its leads without their source.
        raise SourceError(
            "an upgrade is not finished: run python -m schema migrate once its last old process has ended"
        )
    if not is_name(name):
        raise SourceError(f"a source's name should match {SOURCE_NAME_PATTERN}")
    now = _now()
    values: dict[str, object] = {"roles": _join(roles), "rate": rate, "daily_cap": daily_cap, "disabled": False}
    values |= {"duplicate_days": duplicate_days, "refuses_duplicates": refuses_duplicates}
    values["additional_data_schema"] = additional_data_schema
    try:
        connection.execute(insert(sources).values(name=name, **values, created_at=now, updated_at=now))
    except IntegrityError:
        raise SourceError(f"{name} exists already") from None
    return _add_key(connection, name)


def rotate(connection: Connection, name: str, grace: timedelta) -> str:
    """Make another API key for a source; return it. The one before stays good for `grace`, older ones end now.

    Raises SourceError when there is no such source.
    """
    found = find(connection, name)
    now = _now()
    stays = [key.prefix for key in found.keys[-1:]]
    # Those that are over as well.
    connection.execute(delete(source_keys).where(source_keys.c.source == name, source_keys.c.prefix.not_in(stays)))
    for key in found.keys[-1:]:
        # One that was about to end does not get longer.
        end = now + grace if key.expires_at is None else min(now + grace, key.expires_at)
        connection.execute(update(source_keys).where(source_keys.c.prefix == key.prefix).values(expires_at=end))
    return _add_key(connection, name)


def disable(connection: Connection, name: str) -> None:
    """Refuse a source's keys. Raises SourceError when there is no such source."""
    _update(connection, name, disabled=True)


def enable(connection: Connection, name: str) -> None:
    """Let a disabled source's keys open again what they did. Raises SourceError when there is no such source."""
    _update(connection, name, disabled=False)


def change(
    connection: Connection,
    name: str,
    *,
    roles: Iterable[str] | None = None,
    rate: int | None = None,
    daily_cap: int | None = None,
    duplicate_days: int | None = None,
    refuses_duplicates: bool | None = None,
    additional_data_schema: str | None = None,
) -> list[str]:
    """Set what is given; return its names. An empty schema takes the one there is away.

    Raises SourceError when there is no such source, or a role or the schema is not allowed.
    """
    _check_schema(additional_data_schema or None)
    values: dict[str, object] = {"roles": _join(roles) if roles else None, "rate": rate, "daily_cap": daily_cap}
    values |= {"duplicate_days": duplicate_days, "refuses_duplicates": refuses_duplicates}
    given = {column: value for column, value in values.items() if value is not None}
    if duplicate_days == DEFAULT_DAYS:
        given["duplicate_days"] = None
    if additional_data_schema is not None:
        given["additional_data_schema"] = additional_data_schema or None
    _update(connection, name, **given)
    return list(given)


def _update(connection: Connection, name: str, **values: object) -> None:
    statement = update(sources).where(sources.c.name == name).values(**values, updated_at=_now())
    if connection.execute(statement).rowcount == 0:
        raise SourceError(f"there is no source {name}")


def find(connection: Connection, name: str) -> Source:
    """Return a source. Raises SourceError when there is no such source."""
    found = [each for each in list_all(connection) if each.name == name]
    if not found:
        raise SourceError(f"there is no source {name}")
    return found[0]


def list_all(connection: Connection) -> list[Source]:
    """Return all sources, ordered by name."""
    keys: dict[str, list[SourceKey]] = {}
    good = or_(source_keys.c.expires_at.is_(None), source_keys.c.expires_at > _now())
    for row in connection.execute(select(source_keys).where(good).order_by(source_keys.c.created_at)):
        keys.setdefault(row.source, []).append(SourceKey(row.prefix, row.created_at, row.expires_at))
    return [
        _source(row, keys.get(row.name, [])) for row in connection.execute(select(sources).order_by(sources.c.name))
    ]


def _source(row: Any, keys: list[SourceKey]) -> Source:
    return Source(
        row.name,
        row.roles.split(","),
        row.rate,
        row.daily_cap,
        row.duplicate_days,
        bool(row.refuses_duplicates),
        bool(row.disabled),
        row.created_at,
        keys,
        row.additional_data_schema,
    )


def _add_key(connection: Connection, source: str) -> str:
    key = new_key()
    values = {"prefix": prefix_of(key), "source": source, "hash": hash_of(key), "created_at": _now()}
    connection.execute(insert(source_keys).values(**values))
    return key


def _check_schema(text: str | None) -> None:
    if text is None:
        return
    try:
        AdditionalDataSchema(text)
    except SchemaRefused as error:
        raise SourceError(f"the schema for additionalData is refused: {error}") from None


def _join(roles: Iterable[str]) -> str:
    wanted = set(roles)
    unknown = sorted(wanted - set(SOURCE_ROLES))
    if unknown or not wanted:
        raise SourceError(
            f"a source's roles are {', '.join(SOURCE_ROLES)}" + (f"; not {', '.join(unknown)}" if unknown else "")
        )
    return ",".join(sorted(wanted))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
