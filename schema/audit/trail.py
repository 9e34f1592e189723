"""The table `audit_trail`: stores events, each once, finds them, and removes those of long ago."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update
from sqlalchemy.dialects import mysql, sqlite

from schema.audit.event import Action, Event, command_line_user, new_event
from schema.database.tables import audit_trail

# Most events deleted in one transaction.
AUDIT_FORGET_MAX = 10_000

# Actions whose first event may be stored before the number of rows is known.
COUNTED_LATER = (Action.EXPORT, Action.DEAD_LETTERS_REPLAYED, Action.DEAD_LETTERS_DROPPED)

_COUNT = (
    update(audit_trail)
    .where(audit_trail.c.id == bindparam("known"), audit_trail.c.row_count.is_(None))
    .values(row_count=bindparam("number"))
)


def record(
    connection: Connection,
    action: Action,
    *,
    parameters: Iterable[str] = (),
    row_count: int | None = None,
    subject: str = "",
) -> None:
    """Store an event of the command line in the open transaction: it happened if that commits.

    `parameters` are names, never values; `row_count` is of leads, dead letters or requests; `subject` is the id
    of what it was about, for a user `schema.audit.event.user_id`. Raises SQLAlchemyError.
    """
    event = new_event(action, user=command_line_user(), parameters=parameters, row_count=row_count, subject=subject)
    store(connection, [event])


def store(connection: Connection, events: Sequence[Event]) -> None:
    """Store events in the open transaction. One that is there already is kept, and gets its `row_count`.

    Raises SQLAlchemyError.
    """
    # The last of each id: of two events of one export, that with the number of leads.
    unique = {each.id: each for each in events}
    if not unique:
        return
    table = audit_trail
    rows = [_row(unique[each]) for each in sorted(unique)]
    # As executemany of one simple row: PyMySQL makes one statement of many rows of it.
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(mysql.insert(table).on_duplicate_key_update(id=table.c.id), rows)
    counted = [
        {"known": each.id, "number": each.row_count}
        for each in unique.values()
        if each.action in COUNTED_LATER and each.row_count is not None
    ]
    if counted:
        connection.execute(_COUNT, counted)


def find(
    connection: Connection,
    *,
    user: str = "",
    action: str | None = None,
    since: datetime | None = None,
    number: int,
) -> list[Event]:
    """Return the last events, oldest first: at most `number`, by user, by action, since an aware time.

    Raises SQLAlchemyError.
    """
    table = audit_trail
    query = select(table).order_by(table.c.at.desc(), table.c.id.desc()).limit(number)
    if user:
        query = query.where(table.c.user == user)
    if action:
        query = query.where(table.c.action == action)
    if since:
        query = query.where(table.c.at >= since.astimezone(UTC).replace(tzinfo=None))
    return [_event(row) for row in connection.execute(query)][::-1]


def forget(connection: Connection, days: int) -> int:
    """Delete at most AUDIT_FORGET_MAX events older than `days` in the open transaction; return how many.

    Raises SQLAlchemyError.
    """
    table = audit_trail
    end = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    old = select(table.c.id).where(table.c.at < end).order_by(table.c.at).limit(AUDIT_FORGET_MAX)
    found = connection.execute(old).scalars().all()
    if found:
        connection.execute(delete(table).where(table.c.id.in_(found)))
    return len(found)


def _event(row: Row[Any]) -> Event:
    names = ("action", "user", "client", "parameters", "row_count", "subject", "request_id")
    return Event(bytes(row.id), *(row._mapping[name] for name in names))


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "at": event.at.replace(tzinfo=None),
        "action": event.action,
        "user": event.user,
        "client": event.client,
        "parameters": event.parameters,
        "row_count": event.row_count,
        "subject": event.subject,
        "request_id": event.request_id,
    }
