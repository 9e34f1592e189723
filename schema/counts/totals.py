"""The sums over all time: the exact number of leads, and the data version.

Every transaction that stores or removes leads updates a row of `lead_totals`, so locking all its rows blocks writers.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, String, case, cast, delete, func, select, union_all, update

from schema.counts.upsert import Upsert
from schema.counts.widths import SLOTS
from schema.database.tables import lead_counts, lead_totals

ADD = Upsert(lead_totals)


@dataclass(frozen=True, slots=True)
class DataVersion:
    """The state of the whole table. Equal versions mean that nothing was stored or removed in between."""

    total_stored: int  # leads ever stored
    expired: int  # leads removed because they were older than the retention
    revision: int  # number of rebuilds of the counts
    retention_cutoff: int  # while a month is being removed: the first microsecond that is kept; else 0
    erased: int = 0  # leads removed with their person

    @property
    def total(self) -> int:
        """The number of stored leads."""
        return self.total_stored - self.expired - self.erased

    @property
    def progress(self) -> int:
        """A number that only grows; a replica with a smaller one is behind."""
        return (self.revision << 56) + self.total_stored + self.expired + self.erased


_NAMES = ("total_stored", "expired", "revision", "retention_cutoff", "erased")

# Until migration 0015 has run, workers of release 0.1 keep these sums in lead_counts, under width 0.
_LEGACY_WIDTH = 0
_sums = union_all(
    select(*(lead_totals.c[name] for name in _NAMES)),
    select(
        *(
            case((lead_counts.c.bucket == bucket, lead_counts.c.stored), else_=0).label(name)
            for bucket, name in enumerate(_NAMES)
        )
    ).where(lead_counts.c.width == _LEGACY_WIDTH),
).subquery("sums")
_numbers = [func.coalesce(func.sum(_sums.c[name]), 0) for name in _NAMES]
_VERSION = select(*_numbers)

# The same as one text, so that a query for leads can return it as a column.
VERSION_TEXT = select(
    cast(_numbers[0], String)
    + ":"
    + cast(_numbers[1], String)
    + ":"
    + cast(_numbers[2], String)
    + ":"
    + cast(_numbers[3], String)
    + ":"
    + cast(_numbers[4], String)
).scalar_subquery()


def parse_version(text: str) -> DataVersion:
    """Parse the text that VERSION_TEXT selects."""
    return DataVersion(*map(int, text.split(":")))


def version(connection: Connection) -> DataVersion:
    """Return the data version as of the connection's snapshot. Reads about ten rows."""
    return DataVersion(*map(int, connection.execute(_VERSION).one()))


def total(connection: Connection) -> int:
    """Return the number of stored leads, exactly, without counting rows."""
    return version(connection).total


def add(
    connection: Connection,
    *,
    slot: int = 0,
    total_stored: int = 0,
    expired: int = 0,
    revision: int = 0,
    retention_cutoff: int = 0,
    erased: int = 0,
) -> None:
    """Add to the sums in the open transaction. `slot` (any number) spreads concurrent writers over rows."""
    ADD(connection, [(slot % SLOTS, total_stored, expired, revision, retention_cutoff, erased)])


def lock(connection: Connection) -> None:
    """Lock all rows: every writer blocks until the open transaction ends."""
    ADD(connection, [(slot, 0, 0, 0, 0, 0) for slot in range(SLOTS)])


def set_cutoff(connection: Connection, cutoff: int) -> None:
    """Set the first microsecond that is kept, 0 for none, in the open transaction. Call `lock` first."""
    value = case((lead_totals.c.slot == 0, cutoff), else_=0)
    connection.execute(update(lead_totals).values(retention_cutoff=value))


def replace(connection: Connection, new: DataVersion) -> None:
    """Replace the sums in the open transaction. Call `lock` first."""
    connection.execute(delete(lead_totals))
    connection.execute(delete(lead_counts).where(lead_counts.c.width == _LEGACY_WIDTH))
    add(
        connection,
        total_stored=new.total_stored,
        expired=new.expired,
        revision=new.revision,
        retention_cutoff=new.retention_cutoff,
        erased=new.erased,
    )


def is_upgrading(connection: Connection) -> bool:
    """Tell whether migration 0015 has not run yet, so that workers of release 0.1 may still store."""
    return connection.execute(select(lead_counts.c.bucket).where(lead_counts.c.width <= 0).limit(1)).first() is not None
