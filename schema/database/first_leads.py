"""The first lead of each address and number: kept in Redis with the append, and in the database with the row.

A contact's first lead is the one before which none came with it, within the days that count for that lead. Redis
decides, in the append; the database is asked when a row is written whose first lead Redis may have forgotten.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import mysql, sqlite

from schema.database.tables import first_leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

DAY_MICROS = 24 * 60 * 60 * 1_000_000

# Most contacts in one IN.
CONTACTS_AT_ONCE = 1_000

# Most contacts deleted in one transaction.
CONTACTS_FORGOTTEN_MAX = 10_000


class FirstLead(NamedTuple):
    """A contact (schema.lead.contacts) and its first lead."""

    contact: bytes
    lead: LeadId


def remember(connection: Connection, firsts: Iterable[FirstLead]) -> None:
    """Store first leads in the open transaction of their rows. Of two of one contact the later stays."""
    table = first_leads
    # Sorted, so that all transactions lock rows in the same order.
    rows = [{"contact": contact, "lead_id": lead} for contact, lead in sorted(firsts)]
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        insert = sqlite.insert(table)
        latest = {"lead_id": func.max(table.c.lead_id, insert.excluded.lead_id)}
        connection.execute(insert.on_conflict_do_update(index_elements=["contact"], set_=latest), rows)
    else:
        statement = mysql.insert(table)
        latest_id = func.greatest(table.c.lead_id, statement.inserted.lead_id)
        connection.execute(statement.on_duplicate_key_update(lead_id=latest_id), rows)


def find(connection: Connection, contacts: Collection[bytes]) -> dict[bytes, LeadId]:
    """Return the first leads of those contacts that have one."""
    table = first_leads
    ordered = sorted(contacts)
    found: dict[bytes, LeadId] = {}
    for start in range(0, len(ordered), CONTACTS_AT_ONCE):
        few = ordered[start : start + CONTACTS_AT_ONCE]
        rows = connection.execute(select(table.c.contact, table.c.lead_id).where(table.c.contact.in_(few)))
        found.update((bytes(row.contact), bytes(row.lead_id)) for row in rows)
    return found


def is_within(first: LeadId, lead: LeadId, days: int) -> bool:
    """Tell whether a contact's first lead came no more than `days` before a lead."""
    return lead_id.micros_of(first) >= lead_id.micros_of(lead) - days * DAY_MICROS


def remove(connection: Connection, leads: Collection[LeadId]) -> None:
    """Forget in the open transaction of which contacts these were the first leads."""
    connection.execute(delete(first_leads).where(first_leads.c.lead_id.in_(leads)))


def remove_contacts(connection: Connection, contacts: Collection[bytes]) -> None:
    """Forget contacts in the open transaction, whoever was the first."""
    connection.execute(delete(first_leads).where(first_leads.c.contact.in_(contacts)))


def forget(connection: Connection, before: int) -> int:
    """Delete at most about CONTACTS_FORGOTTEN_MAX first leads from before a time, in microseconds since 1970."""
    table = first_leads
    old = (
        select(table.c.lead_id)
        .where(table.c.lead_id < lead_id.at(before))
        .order_by(table.c.lead_id)
        .limit(CONTACTS_FORGOTTEN_MAX)
    )
    found = connection.execute(old).scalars().all()
    if not found:
        return 0
    return connection.execute(delete(table).where(table.c.lead_id.between(found[0], found[-1]))).rowcount
