"""Partitions: on MySQL and MariaDB the table `leads` is partitioned by month.

Partitions are ranges of the id, which begins with the creation time, so the primary key is the id
alone. The first partition also holds everything older, the last everything newer than its months.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, select, text

from schema.database.tables import leads
from schema.lead import lead_id

MICROS = 1_000_000

# Number of months after the current one that have a partition.
MONTHS_AHEAD = 3

# Most months that one statement makes partitions for; leads older than that share the first partition.
MONTHS_MAX = 240

# Metadata lock timeout of a DDL statement, seconds: every query that comes later waits behind it.
LOCK_WAIT_TIMEOUT = 3

CATCH_ALL = "pmax"

# Name of the advisory lock (GET_LOCK) that serializes changes of the partitions.
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
        """The month's first microsecond since 1970."""
        return int(datetime(self._number // 12, self._number % 12 + 1, 1, tzinfo=UTC).timestamp()) * MICROS

    @property
    def name(self) -> str:
        """The name of the month's partition."""
        return f"p{self._number // 12:04}{self._number % 12 + 1:02}"

    @property
    def clause(self) -> str:
        """The DDL of the month's partition."""
        return f"PARTITION {self.name} VALUES LESS THAN (x'{lead_id.at((self + 1).start).hex()}')"


def partition(connection: Connection, now: int) -> None:
    """Partition the table from the month of its oldest lead on, unless it is partitioned. `now` is in microseconds.

    Copies the table and blocks writes meanwhile: accepted leads wait in the queue.
    """
    if connection.dialect.name == "sqlite" or existing(connection):
        return
    oldest = connection.execute(select(leads.c.id).order_by(leads.c.id).limit(1)).scalar()
    end = Month.at(now) + MONTHS_AHEAD
    first = Month.at(now if oldest is None else lead_id.micros_of(bytes(oldest)))
    if end - first >= MONTHS_MAX:
        first = end + (1 - MONTHS_MAX)
    # If all leads are from the future, the months still start now.
    months = _clauses(first, end - first + 1) if end - first >= 0 else _clauses(Month.at(now), MONTHS_AHEAD + 1)
    connection.execute(text(f"ALTER TABLE leads PARTITION BY RANGE COLUMNS (id) ({months})"))


def make_ahead(connection: Connection, now: int) -> int:
    """Make the partitions up to MONTHS_AHEAD months from `now` (microseconds); return how many.

    Does nothing when the table has no partitions or another process changes them.
    """
    with alone(connection) as is_alone:
        there = existing(connection) if is_alone else []
        if len(there) < 2 or there[-1] != CATCH_ALL:
            return 0
        newest = Month.named(there[-2])
        missing = min(Month.at(now) + MONTHS_AHEAD - newest, MONTHS_MAX)
        if missing > 0:
            months = _clauses(newest + 1, missing)
            connection.execute(text(f"ALTER TABLE leads REORGANIZE PARTITION {CATCH_ALL} INTO ({months})"))
        return max(missing, 0)


def existing(connection: Connection) -> list[str]:
    """Return the names of the partitions, in order; [] on SQLite or when the table has none."""
    if connection.dialect.name == "sqlite":
        return []
    query = text(
        "SELECT partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() "
        "AND table_name = 'leads' AND partition_name IS NOT NULL ORDER BY partition_ordinal_position"
    )
    return list(connection.execute(query).scalars())


def _clauses(first: Month, number: int) -> str:
    clauses = [(first + each).clause for each in range(number)]
    return ", ".join([*clauses, f"PARTITION {CATCH_ALL} VALUES LESS THAN (MAXVALUE)"])


@contextmanager
def alone(connection: Connection) -> Iterator[bool]:
    """Try to take the advisory lock on partition changes for the block; yield whether that succeeded. Never waits."""
    if connection.dialect.name == "sqlite":
        yield True
        return
    # DDL waits for open reads, and later queries wait behind it: better to give up and retry in a minute.
    connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT}"))
    is_locked = bool(connection.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": _LOCK}).scalar())
    connection.rollback()
    try:
        yield is_locked
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})
        connection.execute(text("SET SESSION lock_wait_timeout = DEFAULT"))
        connection.rollback()
