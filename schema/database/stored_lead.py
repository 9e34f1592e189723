"""A lead's row as one text, and back.

A driver written in Python takes longer over the values of a page, a hundred and more, than the
database over finding them. So the database makes one text of a row, with the free texts' lengths
before them, and one split takes it apart.
"""

from typing import Any, NamedTuple

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from schema.lead.lead_id import LeadId

# Lead by lead: what has no comma, the number of characters of each free text, and the free texts.
_PLAIN = ("hex(leads.id)", "leads.date_of_birth", "leads.created_at", "leads.updated_at")
_FREE = ("leads.first_name", "leads.last_name", "leads.email", "leads.phone")
_DATA = "coalesce(leads.additional_data, '')"


class StoredLead(NamedTuple):
    """A row of the table `leads`; dates and times as the database writes them, the times with microseconds."""

    id: LeadId
    first_name: str
    last_name: str
    email: str
    phone: str
    date_of_birth: str
    additional_data: str | None
    created_at: str
    updated_at: str


class lead_text(GenericFunction[str]):  # noqa: N801, it stands in statements as a function's name
    """The row of `leads` as one text. It names no columns, so that statements say `select_from(leads)`."""

    type = String()
    inherit_cache = True


@compiles(lead_text)
def _text(element: lead_text, compiler: SQLCompiler, **_: Any) -> str:
    lengths = (f"char_length({each})" for each in _FREE)
    return f"concat_ws(',', {', '.join((*_PLAIN, *lengths))}, concat({', '.join((*_FREE, _DATA))}))"


@compiles(lead_text, "sqlite")
def _text_sqlite(element: lead_text, compiler: SQLCompiler, **_: Any) -> str:
    lengths = (f"length({each})" for each in _FREE)
    return " || ',' || ".join((*_PLAIN, *lengths, " || ".join((*_FREE, _DATA))))


def read(text: str) -> StoredLead:
    """Return the row that `lead_text` made a text of."""
    key, born, created, updated, first, last, email, phone, free = text.split(",", 8)
    end_first = int(first)
    end_last = end_first + int(last)
    end_email = end_last + int(email)
    end_phone = end_email + int(phone)
    return StoredLead(
        bytes.fromhex(key),
        free[:end_first],
        free[end_first:end_last],
        free[end_last:end_email],
        free[end_email:end_phone],
        born,
        free[end_phone:] or None,
        created,
        updated,
    )
