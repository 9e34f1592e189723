"""The first lead of each address and number: kept in Redis with the append, and in the database with the row.

A contact's first lead is the one before which none came with it, within the days that count for that lead. Redis
decides, in the append; the database is asked when a row is written whose first lead Redis may have forgotten.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from schema.database import engines
from schema.database.engines import Product
from schema.database.tables import first_leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

DAY_MICROS = 24 * 60 * 60 * 1_000_000

# Most contacts in one IN.
CONTACTS_AT_ONCE = 1_000

# Most contacts that are looked at in one transaction to forget the old ones.
LOOKED_AT_MAX = 10_000

_INSERT = "INSERT INTO first_leads (contact, lead_id) VALUES"
_REMEMBER = {
    Product.SQLITE: f"{_INSERT} (?, ?) ON CONFLICT DO UPDATE SET lead_id = max(lead_id, excluded.lead_id)",
    Product.MYSQL: f"{_INSERT} (%s, %s) AS added ON DUPLICATE KEY UPDATE "
    "lead_id = GREATEST(first_leads.lead_id, added.lead_id)",
    Product.MARIADB: f"{_INSERT} (%s, %s) ON DUPLICATE KEY UPDATE lead_id = GREATEST(lead_id, VALUES(lead_id))",
}


class FirstLead(NamedTuple):
    """A contact (schema.lead.contacts) and its first lead."""

    contact: bytes
    lead: LeadId


def remember(connection: Connection, firsts: Iterable[FirstLead]) -> None:
    """Store first leads in the open transaction of their rows. Of two of one contact the later stays."""
    # Sorted, so that all transactions lock rows in the same order; through the driver, as the rows of leads are.
    rows = sorted(firsts)
    if rows:
        connection.exec_driver_sql(_REMEMBER[engines.product_of(connection)], rows)


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


def remove(connection: Connection, contacts: Collection[bytes], leads: Collection[LeadId]) -> None:
    """Forget in the open transaction those contacts whose first lead is one of `leads`."""
    theirs = [contact for contact, first in find(connection, contacts).items() if first in leads]
    remove_contacts(connection, theirs)


def remove_contacts(connection: Connection, contacts: Sequence[bytes]) -> None:
    """Forget contacts in the open transaction, whoever was the first."""
    for start in range(0, len(contacts), CONTACTS_AT_ONCE):
        few = contacts[start : start + CONTACTS_AT_ONCE]
        connection.execute(delete(first_leads).where(first_leads.c.contact.in_(few)))


def forget(connection: Connection, after: bytes, before: int) -> tuple[bytes | None, int]:
    """Delete, of the next contacts behind `after`, those whose first lead came before a time (µs since 1970).

    Returns the last contact that was looked at, None at the end of the table, and how many were deleted. There is no
    index by time: it would cost each lead more than this.
    """
    table = first_leads
    behind = select(table.c.contact, table.c.lead_id).where(table.c.contact > after).order_by(table.c.contact)
    rows = connection.execute(behind.limit(LOOKED_AT_MAX)).all()
    oldest = lead_id.at(before)
    old = [bytes(row.contact) for row in rows if bytes(row.lead_id) < oldest]
    for start in range(0, len(old), CONTACTS_AT_ONCE):
        few = table.c.contact.in_(old[start : start + CONTACTS_AT_ONCE])
        # Again, because a worker may have put a new first lead there meanwhile.
        connection.execute(delete(table).where(few, table.c.lead_id < oldest))
    return (bytes(rows[-1].contact) if len(rows) == LOOKED_AT_MAX else None), len(old)
