"""Months: the table `leads` is partitioned by them on MySQL and MariaDB.

The partitions are ranges of the id, which begins with the time of creation, so the id alone is
the key. The first takes all that is older, the last all that is newer than the months made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, select, text

from schema.database.tables import leads
from schema.lead import lead_id

MICROS = 1_000_000

# Months made beyond the current one.
MONTHS_AHEAD = 3

# Most months that one statement makes partitions for: no more are behind when a table is first partitioned.
MONTHS_MAX = 240

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
    """Return the names of the partitions, in order; none on SQLite or when the table has none."""
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
    """Tell whether nobody else changes partitions, and keep it so within the block."""
    if connection.dialect.name == "sqlite":
        yield True
        return
    # A change waits for everybody who reads, and all who come later wait behind it: better to try again in a minute.
    connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT}"))
    taken = bool(connection.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": _LOCK}).scalar())
    connection.rollback()
    try:
        yield taken
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})
        connection.execute(text("SET SESSION lock_wait_timeout = DEFAULT"))
        connection.rollback()
