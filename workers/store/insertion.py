"""Puts a batch of leads into the database: one transaction, each lead once, the bad ones set apart."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from schema.counts import write
from schema.database import idempotency
from schema.database.errors import Reaction, reaction_to, reason_of
from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import leads
from schema.lead.lead_id import LeadId


@dataclass(slots=True)
class Inserted:
    """What became of a batch, by lead id."""

    stored: list[LeadId] = field(default_factory=list)
    duplicates: list[LeadId] = field(default_factory=list)  # their rows were there before
    rejected: dict[LeadId, str] = field(default_factory=dict)  # cannot be stored, and why


# Takes why leads of a batch were rejected so far; raises when they must not be dead-lettered.
Check = Callable[[Iterable[str]], object]


def store(
    connection: Connection,
    rows: list[LeadRow],
    slot: int,
    keys: Sequence[Remembered] = (),
    *,
    check: Check = lambda reasons: None,
) -> Inserted:
    """Insert `rows`, count them and keep their idempotency keys, in one transaction. On return it is committed.

    `slot` spreads the counting of processes that store at the same moment. When a
    statement fails nothing of the batch is in the database, except when the connection is
    lost at COMMIT: then either all of it is or nothing, and running it again shows which.
    What `check` raises rolls the batch back.

    Raises SQLAlchemyError when the database is away or wants the transaction run again.
    """
    try:
        with connection.begin():
            insert_rows(connection, rows)
            ids = [row.id for row in rows]
            write.add(connection, ids, slot)
            idempotency.remember(connection, list(keys))
        return Inserted(stored=ids)
    except (SQLAlchemyError, UnicodeError) as error:
        if reaction_to(error) not in (Reaction.DUPLICATE, Reaction.REJECT_ROW):
            raise
    with connection.begin():
        inserted = _bisect(connection, rows, check)
        write.add(connection, inserted.stored, slot)
        stored = set(inserted.stored)
        idempotency.remember(connection, [key for key in keys if key.lead in stored])
    return inserted


def is_stored(connection: Connection, lead: LeadId) -> bool:
    """Tell whether a lead's row is committed."""
    with connection.begin():
        return bool(_known(connection, [lead]))


def _bisect(connection: Connection, rows: list[LeadRow], check: Check) -> Inserted:
    """Insert the rows that are not there yet; halve a statement that fails until the bad row stands alone."""
    inserted = Inserted()
    unique = {row.id: row for row in rows}
    known = _known(connection, list(unique))
    inserted.duplicates.extend(known)
    _insert(connection, [row for each, row in unique.items() if each not in known], inserted, check)
    return inserted


def _insert(connection: Connection, rows: list[LeadRow], inserted: Inserted, check: Check) -> None:
    """Insert rows in one statement; halve those that hold a bad one until it stands alone."""
    if not rows:
        return
    try:
        with connection.begin_nested():
            insert_rows(connection, rows)
        inserted.stored.extend(row.id for row in rows)
        return
    except (SQLAlchemyError, UnicodeError) as error:
        reaction, reason = reaction_to(error), reason_of(error)
        if reaction not in (Reaction.DUPLICATE, Reaction.REJECT_ROW):
            raise
    if reaction is Reaction.DUPLICATE:
        # Another process was faster since we looked.
        known = _known(connection, [row.id for row in rows])
        if known:
            inserted.duplicates.extend(known)
            _insert(connection, [row for row in rows if row.id not in known], inserted, check)
            return
    if len(rows) == 1:
        inserted.rejected[rows[0].id] = reason
        check(inserted.rejected.values())
        return
    half = len(rows) // 2
    _insert(connection, rows[:half], inserted, check)
    _insert(connection, rows[half:], inserted, check)


def _known(connection: Connection, ids: list[LeadId]) -> set[LeadId]:
    found = connection.execute(select(leads.c.id).where(leads.c.id.in_(ids))).scalars()
    return {bytes(each) for each in found}
