"""Inserts a batch of leads in one transaction, each lead once, and finds the rows that cannot be stored."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from schema.counts import by_source, write
from schema.counts.widths import SLOTS
from schema.database import first_leads, idempotency, stored_positions
from schema.database.errors import Reaction, reaction_to, reason_of
from schema.database.first_leads import FirstLead
from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import leads
from schema.lead.lead_id import LeadId
from schema.person import removal


@dataclass(slots=True)
class Inserted:
    """What became of a batch, by lead id."""

    stored: list[LeadId] = field(default_factory=list)
    duplicates: list[LeadId] = field(default_factory=list)  # rows existed before
    rejected: dict[LeadId, str] = field(default_factory=dict)  # cannot be stored, with the reason
    erased: list[LeadId] = field(default_factory=list)  # must not be stored: their person is erased or kept out


class _Erased(Exception):
    """Some leads of the batch were erased since they were read."""

    def __init__(self, ids: set[LeadId]) -> None:
        super().__init__(len(ids))
        self.ids = ids


@dataclass(frozen=True, slots=True)
class Beside:
    """What is stored beside rows, each with its lead: idempotency keys, and which lead was the first of a contact."""

    keys: Sequence[Remembered] = ()
    firsts: Sequence[FirstLead] = ()

    def of(self, ids: Collection[LeadId]) -> "Beside":
        """Return what belongs to these leads."""
        return Beside(
            [each for each in self.keys if each.lead in ids], [each for each in self.firsts if each.lead in ids]
        )


# Called with the reasons of a batch's rejected leads so far; raises when they must not become dead letters.
Check = Callable[[Iterable[str]], object]


def store(
    connection: Connection,
    rows: list[LeadRow],
    slot: int,
    beside: Beside = Beside(),
    *,
    kept_out: Sequence[LeadId] = (),
    check: Check = lambda reasons: None,
) -> Inserted:
    """Insert `rows`, count them and store what is beside them in one transaction, committed on return.

    The leads in `kept_out`, which `rows` must not hold, are noted as erased; those that `python -m schema person erase`
    has noted are left out.

    `slot` spreads the counts of concurrent writers; those of one slot wait for each other. After an error nothing of
    the batch is in the database, unless the connection was lost at COMMIT: then all of it or nothing is, and a second
    call finds out. An exception of `check` rolls the batch back.

    Raises SQLAlchemyError when the database is away or the transaction must be run again.
    """
    try:
        return _store(connection, rows, slot, beside, kept_out, check)
    except _Erased as found:
        erased = found.ids
    left = [row for row in rows if row.id not in erased]
    beside = beside.of({row.id for row in left})
    inserted = store(connection, left, slot, beside, kept_out=kept_out, check=check)
    inserted.erased.extend(erased)
    return inserted


def _store(
    connection: Connection,
    rows: list[LeadRow],
    slot: int,
    beside: Beside,
    kept_out: Sequence[LeadId],
    check: Check,
) -> Inserted:
    try:
        with connection.begin():
            if rows:
                insert_rows(connection, _placed(connection, rows, slot))
            ids = [row.id for row in rows]
            write.add(connection, ids, slot)
            for counts in by_source.KINDS:
                counts.add(connection, rows, slot)
            _complete(connection, ids, beside, kept_out)
        return Inserted(stored=ids, erased=list(kept_out))
    except (SQLAlchemyError, UnicodeError) as error:
        if reaction_to(error) not in (Reaction.DUPLICATE, Reaction.REJECT_ROW):
            raise
    with connection.begin():
        unique = {row.id: row for row in _placed(connection, rows, slot)}
        inserted = _bisect(connection, unique, check)
        write.add(connection, inserted.stored, slot)
        for counts in by_source.KINDS:
            counts.add(connection, [unique[each] for each in inserted.stored], slot)
        _complete(connection, inserted.stored, beside.of(set(inserted.stored)), kept_out)
    inserted.erased.extend(kept_out)
    return inserted


def _placed(connection: Connection, rows: list[LeadRow], slot: int) -> list[LeadRow]:
    """Give the rows their places in the order of storing. The worker's own clock: a failover does not change it."""
    return stored_positions.place(connection, rows, slot % SLOTS, time.time_ns() // 1000)


def _complete(connection: Connection, ids: list[LeadId], beside: Beside, kept_out: Sequence[LeadId]) -> None:
    """Write what belongs to the rows that were inserted and counted in the open transaction. Raises _Erased."""
    # After the counts: whoever notes leads as erased locks those first, so it comes before this or after the COMMIT.
    if ids:
        found = removal.erased_between(connection, min(ids), max(ids)).intersection(ids)
        if found:
            raise _Erased(found)
    idempotency.remember(connection, list(beside.keys))
    first_leads.remember(connection, beside.firsts)
    if kept_out:
        removal.note_erased(connection, kept_out)


def is_stored(connection: Connection, lead: LeadId) -> bool:
    """Tell whether a lead's row is committed."""
    with connection.begin():
        return bool(_known(connection, [lead]))


def _bisect(connection: Connection, unique: dict[LeadId, LeadRow], check: Check) -> Inserted:
    """Insert the rows that do not exist yet, and find poison rows by bisection."""
    inserted = Inserted()
    known = _known(connection, list(unique))
    inserted.duplicates.extend(known)
    _insert(connection, [row for each, row in unique.items() if each not in known], inserted, check)
    return inserted


def _insert(connection: Connection, rows: list[LeadRow], inserted: Inserted, check: Check) -> None:
    """Insert rows in one statement; when it fails, in two halves, until each poison row is found."""
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
        # Another process has inserted some since they were looked up.
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
