"""Months: the table `leads` is partitioned by them on MySQL and MariaDB, and a retention removes them.

The partitions are ranges of the id, which begins with the time of creation, so the id alone is
the key. The first takes all that is older, the last all that is newer than the months made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile

from sqlalchemy import Connection, delete, select, text

from schema.counts import maintain, totals
from schema.counts.widths import MICROS
from schema.database.tables import leads
from schema.lead import lead_id

# Months made beyond the current one.
MONTHS_AHEAD = 3

# Most months that one statement makes partitions for: no more are behind when a table is first partitioned.
MONTHS_MAX = 240

# Rows deleted in one transaction where there are no partitions.
DELETE_MAX = 2_000

# Seconds that a change of the table waits for others to leave it; everybody else waits behind it.
LOCK_WAIT_TIMEOUT = 3

CATCH_ALL = "pmax"

# What serializes those who change the partitions.
_LOCK = "lead-ingest partitions"


class Month:
    """A month of the calendar, UTC."""

    def __init__(self, year: int, month: int) -> None:
        self._number = year * 12 + month - 1

    @classmethod
    def at(cls, micros: int) -> "Month":
        """Return the month of a time in microseconds since 1970."""
        moment = datetime.fromtimestamp(micros // MICROS, UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def named(cls, name: str) -> "Month":
        """Return the month of the partition called `name`."""
        return cls(int(name[1:5]), int(name[5:]))

    def __add__(self, months: int) -> "Month":
        number = self._number + months
        return Month(number // 12, number % 12 + 1)

    def __sub__(self, other: "Month") -> int:
        return self._number - other._number

    @property
    def start(self) -> int:
        """Its first microsecond, since 1970."""
        return int(datetime(self._number // 12, self._number % 12 + 1, 1, tzinfo=UTC).timestamp()) * MICROS

    @property
    def name(self) -> str:
        """The name of its partition."""
        return f"p{self._number // 12:04}{self._number % 12 + 1:02}"

    @property
    def clause(self) -> str:
        """What defines its partition."""
        return f"PARTITION {self.name} VALUES LESS THAN (x'{lead_id.at((self + 1).start).hex()}')"


def partition(connection: Connection, now: int) -> None:
    """Partition a table that is not, from the month of its oldest lead on.

    The table is copied and takes no writes meanwhile: accepted leads wait in the queue.
    """
    if connection.dialect.name == "sqlite" or existing(connection):
        return
    oldest = connection.execute(select(leads.c.id).order_by(leads.c.id).limit(1)).scalar()
    end = Month.at(now) + MONTHS_AHEAD
    first = Month.at(now if oldest is None else lead_id.micros_of(bytes(oldest)))
    if end - first >= MONTHS_MAX:
        first = end + (1 - MONTHS_MAX)
    # Leads of the future do not move the months that are made.
    months = _clauses(first, end - first + 1) if end - first >= 0 else _clauses(Month.at(now), MONTHS_AHEAD + 1)
    connection.execute(text(f"ALTER TABLE leads PARTITION BY RANGE COLUMNS (id) ({months})"))


def make_ahead(connection: Connection, now: int) -> int:
    """Make the partitions of the months up to MONTHS_AHEAD from now; return how many. Without partitions do nothing."""
    with _alone(connection) as alone:
        there = existing(connection) if alone else []
        if len(there) < 2 or there[-1] != CATCH_ALL:
            return 0
        newest = Month.named(there[-2])
        missing = min(Month.at(now) + MONTHS_AHEAD - newest, MONTHS_MAX)
        if missing > 0:
            months = _clauses(newest + 1, missing)
            connection.execute(text(f"ALTER TABLE leads REORGANIZE PARTITION {CATCH_ALL} INTO ({months})"))
        return max(missing, 0)


def existing(connection: Connection) -> list[str]:
    """Return the names of the partitions, in order; none on SQLite or when the table has none."""
    if connection.dialect.name == "sqlite":
        return []
    query = text(
        "SELECT partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() "
        "AND table_name = 'leads' AND partition_name IS NOT NULL ORDER BY partition_ordinal_position"
    )
    return list(connection.execute(query).scalars())


def expire(connection: Connection, months: int, now: int) -> int:
    """Remove all leads of months more than `months` before the current one, for good; return how many.

    At every moment the lists and the total agree, whenever this is cut short: first the
    cutoff hides the leads and takes them out of the counts, then the rows go, and then the
    cutoff goes. Leads from before the cutoff that are stored meanwhile are counted or gone.
    """
    cutoff = (Month.at(now) + -months).start
    with _alone(connection) as alone:
        if not alone:
            return 0
        with connection.begin():
            if totals.is_upgrading(connection):
                return 0
            before = totals.version(connection)
            if not before.retention_cutoff and not _has_older(connection, cutoff):
                return 0
            # One that was cut short goes on to where it meant to.
            cutoff = before.retention_cutoff or cutoff
            if not before.retention_cutoff:
                totals.add(connection, retention_cutoff=cutoff)
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
    """Drop the partitions that end by the cutoff; delete what is older and in none of them."""
    over = list(takewhile(lambda name: name != CATCH_ALL and _end(name) <= cutoff, existing(connection)))
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
    """Take the cutoff away, and count what was stored before it in the meantime."""
    totals.lock(connection)
    maintain.subtract_expired(connection, cutoff)
    left = maintain.recount(connection, 0, cutoff)
    totals.add(connection, expired=-left, retention_cutoff=-cutoff)


def _clauses(first: Month, number: int) -> str:
    clauses = [(first + each).clause for each in range(number)]
    return ", ".join([*clauses, f"PARTITION {CATCH_ALL} VALUES LESS THAN (MAXVALUE)"])


@contextmanager
def _alone(connection: Connection) -> Iterator[bool]:
    """Tell whether nobody else changes partitions, and keep it so within the block."""
    if connection.dialect.name == "sqlite":
        yield True
        return
    # A change waits for everybody who reads, and all who come later wait behind it: better to try again in a minute.
    connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT}"))
    alone = bool(connection.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": _LOCK}).scalar())
    connection.rollback()
    try:
        yield alone
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})
        connection.execute(text("SET SESSION lock_wait_timeout = DEFAULT"))
        connection.rollback()
