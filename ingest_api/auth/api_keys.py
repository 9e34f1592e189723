"""The sources' API keys as one process knows them: read from the database every few seconds."""

import hmac
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, or_, select

from ingest_api.auth.source_schemas import SourceSchemas
from ingest_api.auth.tokens import Identity, forbidden
from ingest_api.http.envelope import unavailable
from schema.database.tables import source_keys, sources
from schema.lead.source import SourceLimits, hash_of, prefix_of, user_of

NEVER = float("inf")


class KnownKey(NamedTuple):
    """An API key: who it stands for, and until when."""

    hash: bytes
    identity: Identity  # expires with the key


class ApiKeys:
    """Tells whose key a request has. A look-up is one in a dictionary: no request waits for the database."""

    def __init__(self) -> None:
        self._keys: dict[str, KnownKey] | None = None
        self._schemas = SourceSchemas()

    def read(self, connection: Connection) -> dict[str, KnownKey]:
        """Return the keys that are good, by prefix: not over, and of sources that are not disabled."""
        rows = connection.execute(_good_keys()).all()
        schemas = self._schemas.of(connection, {row.name: row.updated_at for row in rows if row.has_schema})
        found = {}
        for row in rows:
            expires = row.expires_at.replace(tzinfo=UTC).timestamp() if row.expires_at else NEVER
            limits = SourceLimits(row.name, row.rate, row.daily_cap, row.duplicate_days, bool(row.refuses_duplicates))
            roles = frozenset(row.roles.split(","))
            identity = Identity(user_of(row.name), roles, expires, 0.0, 0, limits, schemas.get(row.name))
            found[row.prefix] = KnownKey(bytes(row.hash), identity)
        return found

    def replace(self, found: dict[str, KnownKey], _: float) -> None:
        """Take all keys that are good, by their prefix."""
        self._keys = found

    def identify(self, key: str) -> Identity:
        """Return whom an API key stands for.

        Raises the 403 for a key that is unknown, over, or of a disabled source; the 503 before the first read.
        """
        if self._keys is None:
            raise unavailable("The database does not answer: no API key is known yet.", "keys_unknown")
        known = self._keys.get(prefix_of(key))
        if known is None or not hmac.compare_digest(known.hash, hash_of(key)) or known.identity.expires <= time.time():
            raise forbidden("Invalid API key", "key_invalid")
        return known.identity


def _good_keys() -> Select[Any]:
    now = datetime.now(UTC).replace(tzinfo=None)
    # Not the schemas themselves, which are read when they have changed.
    has_schema = sources.c.additional_data_schema.is_not(None).label("has_schema")
    names = ("name", "roles", "rate", "daily_cap", "duplicate_days", "refuses_duplicates", "updated_at")
    of_source = [sources.c[name] for name in names]
    return (
        select(source_keys.c.prefix, source_keys.c.hash, source_keys.c.expires_at, *of_source, has_schema)
        .join(sources, sources.c.name == source_keys.c.source)
        .where(sources.c.disabled.is_(False), or_(source_keys.c.expires_at.is_(None), source_keys.c.expires_at > now))
    )
