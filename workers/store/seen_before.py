"""Duplicates in a batch: marks those whose first lead only the database knows, and names the first leads to keep."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from schema.database import first_leads
from schema.database.first_leads import FirstLead
from schema.database.lead_row import LeadRow
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId
from schema.queue.entries import Entry


def find(connection: Connection, leads: Sequence[tuple[Entry, LeadRow]]) -> tuple[list[LeadRow], list[FirstLead]]:
    """Return the rows of entries, with all duplicates marked, and the first leads to remember.

    Asks the database only about leads whose first lead the append could not know. `connection` must not be in a
    transaction. Raises SQLAlchemyError.
    """
    of_lead = {row.id: contacts_of(row.email, row.phone) for entry, row in leads if entry.first_of or entry.look_days}
    if not of_lead:
        return [row for _, row in leads], []
    known = _known(connection, {contact for entry, row in leads if entry.look_days for contact in of_lead[row.id]})
    rows: list[LeadRow] = []
    firsts: list[FirstLead] = []
    for entry, row in leads:
        earlier = {
            contact: first
            for contact in of_lead.get(row.id, ())
            if (first := known.get(contact)) is not None and _is_earlier(first, row.id, entry.look_days)
        }
        if earlier:
            marked = row._replace(duplicate_of=min(*earlier.values(), row.duplicate_of or row.id), is_duplicate=True)
            rows.append(marked)
        else:
            rows.append(row)
        if row.id in of_lead:
            opened = entry.contacts_opened(*of_lead[row.id])
            # Of which the database has no first lead, though Redis has one: in its place, for when Redis has not.
            missing = [each for each in of_lead[row.id] if entry.look_days and each not in earlier]
            first = row.duplicate_of or row.id
            firsts += [
                FirstLead(each, row.id if each in opened else first) for each in {*opened, *missing} - {*earlier}
            ]
    return rows, firsts


def _known(connection: Connection, contacts: Collection[bytes]) -> dict[bytes, LeadId]:
    if not contacts:
        return {}
    with connection.begin() as reading:
        found = first_leads.find(connection, contacts)
        reading.rollback()  # nothing to write to the log
    return found


def _is_earlier(first: LeadId, lead: LeadId, days: int) -> bool:
    return first < lead and first_leads.is_within(first, lead, days)
