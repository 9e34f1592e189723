"""Who is kept out: addresses and numbers whose leads get their 202 and are not stored.

The table holds HMAC-SHA256 of them under a random salt of this installation. The salt stands in the same database: it
makes tables of hashes made elsewhere useless. It does not keep somebody who has the database from trying addresses.
"""

import hmac
import secrets
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, true

from schema.database.tables import kept_out, kept_out_salt
from schema.lead.contacts import normal_email
from schema.person.identity import Person

SALT_SIZE = 32  # bytes

# Longest time (seconds) for which a worker goes on with what it has read.
KEPT_OUT_AGE = 2.0

_THE_SALT = 1  # id of the only row


class KeptOut:
    """The addresses and numbers that were kept out when they were read."""

    def __init__(self, salt: bytes = b"", hashes: frozenset[bytes] = frozenset()) -> None:
        self._salt = salt
        self._hashes = hashes

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def holds(self, email: str, phone: str) -> bool:
        """Tell whether a lead with this address or number, as it was accepted, is kept out."""
        return not self._hashes.isdisjoint(
            (_hash(self._salt, "email", normal_email(email)), _hash(self._salt, "phone", phone.removeprefix("+")))
        )


def read(connection: Connection) -> KeptOut:
    """Read who is kept out, in one statement."""
    rows = connection.execute(
        select(kept_out.c.hash, kept_out_salt.c.salt).select_from(kept_out.join(kept_out_salt, true()))
    ).all()
    return KeptOut(bytes(rows[0].salt), frozenset(bytes(row.hash) for row in rows)) if rows else KeptOut()


def add(connection: Connection, person: Person) -> None:
    """Keep a person out, in the open transaction. Idempotent."""
    salt = _salt(connection)
    if salt is None:
        salt = secrets.token_bytes(SALT_SIZE)
        connection.execute(insert(kept_out_salt).values(id=_THE_SALT, salt=salt))
    known = {bytes(each) for each in connection.execute(select(kept_out.c.hash)).scalars()}
    now = datetime.now(UTC).replace(tzinfo=None)
    for each in _hashes_of(person, salt):
        if each not in known:
            connection.execute(insert(kept_out).values(hash=each, added_at=now))


def remove(connection: Connection, person: Person) -> int:
    """Let a person in again, in the open transaction; return how many of address and number were kept out."""
    salt = _salt(connection)
    if salt is None:
        return 0
    return connection.execute(delete(kept_out).where(kept_out.c.hash.in_(_hashes_of(person, salt)))).rowcount


def since(connection: Connection, person: Person) -> datetime | None:
    """Return since when the person is kept out, in UTC, or None."""
    salt = _salt(connection)
    if salt is None:
        return None
    found = select(kept_out.c.added_at).where(kept_out.c.hash.in_(_hashes_of(person, salt)))
    moments = connection.execute(found).scalars().all()
    return min(moments) if moments else None


def _salt(connection: Connection) -> bytes | None:
    found = connection.execute(select(kept_out_salt.c.salt)).scalar()
    return bytes(found) if found is not None else None


def _hashes_of(person: Person, salt: bytes) -> list[bytes]:
    named = (("email", person.email), ("phone", person.phone))
    return [_hash(salt, kind, value) for kind, value in named if value]


def _hash(salt: bytes, kind: str, value: str) -> bytes:
    return hmac.digest(salt, f"{kind}:{value}".encode(), "sha256")
