"""The retention: removes the leads of old months from the table and from the counts."""

from itertools import takewhile

from sqlalchemy import Connection, delete, select, text

from schema.counts import maintain, totals
from schema.database import partitions
from schema.database.partitions import Month, alone
from schema.database.tables import leads
from schema.lead import lead_id

# Rows deleted in one transaction when no partition can be dropped.
DELETE_MAX = 2_000


def expire(connection: Connection, months: int, now: int) -> int:
    """Delete all leads of months more than `months` before the current one; return how many.

    `now` is in microseconds since 1970. Lists and total agree at every moment, also after a
    crash: first the cutoff hides the leads and they are subtracted from the counts, then the rows
    are deleted, then the cutoff is removed. Older leads that are stored meanwhile are deleted or
    counted in the last step. Returns 0 while another process changes partitions, or while migration
    0015 has not run.
    """
    cutoff = (Month.at(now) + -months).start
    with alone(connection) as is_alone:
        if not is_alone:
            return 0
        with connection.begin():
            if totals.is_upgrading(connection):
                return 0
            if not totals.version(connection).retention_cutoff and not _has_older(connection, cutoff):
                return 0
            # The advisory lock is one server's alone. In a group of servers another one may grant it to a second
            # process at a failover, so the cutoff is read again behind a lock of rows, and written, not added.
            totals.lock(connection)
            before = totals.version(connection)
            # A run that was interrupted continues with its own cutoff.
            cutoff = before.retention_cutoff or cutoff
            if not before.retention_cutoff:
                totals.set_cutoff(connection, cutoff)
                maintain.subtract_expired(connection, cutoff)
        _remove(connection, cutoff)
        with connection.begin():
            _lift_cutoff(connection, cutoff)
            return totals.version(connection).expired - before.expired


def _end(partition: str) -> int:
    """Return the first microsecond after a month's partition."""
    return (Month.named(partition) + 1).start


def _has_older(connection: Connection, cutoff: int) -> bool:
    older = select(leads.c.id).where(leads.c.id < lead_id.at(cutoff)).order_by(leads.c.id).limit(1)
    return connection.execute(older).first() is not None


def _remove(connection: Connection, cutoff: int) -> None:
    """Drop the partitions that end at or before the cutoff; then delete the rows left before it."""
    over = list(
        takewhile(lambda name: name != partitions.CATCH_ALL and _end(name) <= cutoff, partitions.existing(connection))
    )
    if over:
        connection.execute(text(f"ALTER TABLE leads DROP PARTITION {', '.join(over)}"))
    connection.rollback()
    while True:
        with connection.begin():
            older = select(leads.c.id).where(leads.c.id < lead_id.at(cutoff)).order_by(leads.c.id).limit(DELETE_MAX)
            found = list(connection.execute(older).scalars())
            if found:
                connection.execute(delete(leads).where(leads.c.id >= found[0], leads.c.id <= found[-1]))
        if len(found) < DELETE_MAX:
            return


def _lift_cutoff(connection: Connection, cutoff: int) -> None:
    """Remove the cutoff, and count the older leads that were stored meanwhile. Blocks all workers until COMMIT.

    Does nothing when another process has removed it.
    """
    totals.lock(connection)
    if totals.version(connection).retention_cutoff != cutoff:
        return
    maintain.subtract_expired(connection, cutoff)
    left = maintain.recount(connection, 0, cutoff)
    totals.add(connection, expired=-left)
    totals.set_cutoff(connection, 0)
