"""The sources' API keys as one process knows them: read from the database every few seconds."""

import hmac
import time
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, or_, select

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


def read(connection: Connection) -> dict[str, KnownKey]:
    """Return the keys that are good, by prefix: not over, and of sources that are not disabled."""
    now = datetime.now(UTC).replace(tzinfo=None)
    statement = (
        select(source_keys.c.prefix, source_keys.c.hash, source_keys.c.expires_at, sources)
        .join(sources, sources.c.name == source_keys.c.source)
        .where(sources.c.disabled.is_(False), or_(source_keys.c.expires_at.is_(None), source_keys.c.expires_at > now))
    )
    found = {}
    for row in connection.execute(statement):
        expires = row.expires_at.replace(tzinfo=UTC).timestamp() if row.expires_at else NEVER
        limits = SourceLimits(row.name, row.rate, row.daily_cap, row.duplicate_days, bool(row.refuses_duplicates))
        identity = Identity(user_of(row.name), frozenset(row.roles.split(",")), expires, 0.0, 0, limits)
        found[row.prefix] = KnownKey(bytes(row.hash), identity)
    return found
