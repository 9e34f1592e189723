"""Idempotency keys: remembered in Redis with the append, and in the database with the row.

Redis answers for the life of a key, as long as it has not lost its data. Its epoch says since
when it remembers (see schema.queue.accepted_counts). While that is less than a key's life, and it is not
the first epoch there ever was, the database is asked as well.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import mysql, sqlite

from schema.database.tables import idempotency_keys
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

# Most keys forgotten in one transaction.
FORGET_MAX = 10_000

IDEMPOTENCY_KEY = "Idempotency-Key"  # the header


@dataclass(frozen=True, slots=True)
class Remembered:
    """A key that a lead was sent with: SHA-256 of user and key, SHA-256 of the lead's fields, the lead."""

    key: bytes
    digest: bytes
    lead: LeadId


def key_of(user: str, key: str) -> bytes:
    """Return what stands for a user's key: 32 bytes that do not show either."""
    return hashlib.sha256(f"{user}\0{key}".encode()).digest()


def remember(connection: Connection, keys: list[Remembered]) -> None:
    """Keep the keys of leads, in the leads' own transaction. A key that is there keeps its lead.

    Leads that were sent together have one key; any of them stands for all (see schema.lead.lead_id.same_lead_ids).
    """
    if not keys:
        return
    table = idempotency_keys
    rows = [
        {
            "key": each.key,
            "digest": each.digest,
            "lead_id": each.lead,
            "created_at": lead_id.time_of(each.lead).replace(tzinfo=None),
        }
        for each in {each.key: each for each in reversed(keys)}.values()
    ]
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(mysql.insert(table).on_duplicate_key_update(lead_id=table.c.lead_id), rows)


def find(connection: Connection, key: bytes) -> Remembered | None:
    """Return what is remembered of a key, or None."""
    row = connection.execute(select(idempotency_keys).where(idempotency_keys.c.key == key)).first()
    return Remembered(bytes(row.key), bytes(row.digest), bytes(row.lead_id)) if row else None


def forget(connection: Connection, life: float) -> int:
    """Delete keys older than `life` seconds, FORGET_MAX at most; return how many."""
    table = idempotency_keys
    end = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=life)
    old = (
        connection.execute(
            select(table.c.key).where(table.c.created_at < end).order_by(table.c.created_at).limit(FORGET_MAX)
        )
        .scalars()
        .all()
    )
    if old:
        connection.execute(delete(table).where(table.c.key.in_(old)))
    return len(old)
