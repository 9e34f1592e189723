"""Idempotency keys: kept in Redis with the append, and in the database with the row.

Redis answers for a key's TTL, as long as it has not lost its data; its epoch says since when it
has them (see schema.queue.accepted_counts). While the epoch is younger than the TTL, and not the
first one, the database is asked as well.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import mysql, sqlite

from schema.database.tables import idempotency_keys
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

# Most keys deleted in one transaction.
FORGET_MAX = 10_000

IDEMPOTENCY_KEY = "Idempotency-Key"  # the header


@dataclass(frozen=True, slots=True)
class Remembered:
    """A stored idempotency key: SHA-256 of user and key, SHA-256 of the lead's fields, and the lead's id."""

    key: bytes
    digest: bytes
    lead: LeadId


def key_of(user: str, key: str) -> bytes:
    """Return the SHA-256 of user and key, 32 bytes that reveal neither."""
    return hashlib.sha256(f"{user}\0{key}".encode()).digest()


def remember(connection: Connection, keys: list[Remembered]) -> None:
    """Store the keys of leads in the leads' open transaction. A key that exists keeps its lead.

    Leads that were sent together share one key; the ids of all follow from any one
    (see schema.lead.lead_id.same_lead_ids).
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
    """Return the stored key, or None."""
    row = connection.execute(select(idempotency_keys).where(idempotency_keys.c.key == key)).first()
    return Remembered(bytes(row.key), bytes(row.digest), bytes(row.lead_id)) if row else None


def forget(connection: Connection, life: float) -> int:
    """Delete at most FORGET_MAX keys older than `life` seconds; return how many."""
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
