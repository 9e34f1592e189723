"""What the tests of duplicates share: a person's leads, and who is remembered as the first."""

import itertools
import time
from typing import Any

from sqlalchemy import select

from ingest_api.intake.append import AppendRequest, AppendResult, NewLead, Verdict, duplicates_of
from schema.counts.widths import DAY, MICROS
from schema.database.tables import first_leads, leads
from schema.lead import codec, lead_id
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId
from schema.queue import keys
from tests.integration.backends import Backend, fields_of
from tests.integration.flushes import Line, run

DAYS = 30

NOW = int(time.time()) * MICROS

_numbers = itertools.count(1)


def a_lead(moment: int = NOW, **fields: Any) -> NewLead:
    """Return a new lead, by default of a person of its own, of a moment in microseconds since 1970."""
    number = next(_numbers)
    person = {"email": f"ada{number}@example.com", "phone": f"+4420{number:08}"} | fields
    new_id = lead_id.at(moment, number)
    given = fields_of(**person)
    return NewLead(new_id, codec.encode(new_id, given), b"".join(contacts_of(given["email"], given["phone"])))


def again(lead: NewLead, after: float = 0.0) -> NewLead:
    """Return a lead of the same person, so many days later."""
    moment = lead_id.micros_of(lead.id) + int(after * DAY) * MICROS
    new_id = lead_id.at(moment, next(_numbers))
    text = lead_id.to_text(lead.id).encode()
    return NewLead(new_id, lead.payload.replace(text, lead_id.to_text(new_id).encode()), lead.contacts)


def sent(*leads: NewLead, days: int = DAYS, **changes: Any) -> AppendRequest:
    return AppendRequest(leads=leads, duplicate_days=days, **changes)


def submit(backend: Backend, *requests: AppendRequest, **changes: Any) -> list[AppendResult]:
    """Submit requests one after the other, as one API process that looks for duplicates."""

    async def work(line: Line) -> list[AppendResult]:
        return [await line.submit(each) for each in requests]

    return run(backend, work, **{"duplicate_days": DAYS} | changes)


def found(backend: Backend, *leads: NewLead, **changes: Any) -> list[LeadId | None]:
    """Send leads in a request each; return the first leads that they are duplicates of."""
    answers = submit(backend, *(sent(each) for each in leads), **changes)
    assert {each.verdict for each in answers} == {Verdict.APPENDED}
    return [first for each in answers for first in duplicates_of(each, 1)]


def rows(backend: Backend) -> dict[LeadId, LeadId | None]:
    """Return of each row the first lead that it is a duplicate of."""
    with backend.engine.connect() as connection:
        table = connection.execute(select(leads.c.id, leads.c.duplicate_of, leads.c.is_duplicate)).all()
    assert all(bool(row.is_duplicate) == (row.duplicate_of is not None) for row in table)
    return {bytes(row.id): row.duplicate_of and bytes(row.duplicate_of) for row in table}


def contacts_in_database(backend: Backend) -> dict[bytes, LeadId]:
    with backend.engine.connect() as connection:
        return {bytes(row.contact): bytes(row.lead_id) for row in connection.execute(select(first_leads))}


def forget_all(backend: Backend) -> None:
    """Let Redis lose what it remembers of contacts."""
    for name in backend.client.scan_iter(match=f"{keys.FIRST_LEADS_PREFIX}*"):
        backend.client.delete(name)
