"""The sums over all time: how many leads there are, and whether anything was stored since.

Every transaction that stores or removes leads changes a row of `lead_totals`: who locks all of them keeps writers out.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, String, case, cast, delete, func, select, union_all

from schema.counts.upsert import Upsert
from schema.counts.widths import SLOTS
from schema.database.tables import lead_counts, lead_totals

ADD = Upsert(lead_totals)


@dataclass(frozen=True, slots=True)
class DataVersion:
    """The state of the whole table. Two that are equal: nothing was stored or removed between them."""

    total_stored: int  # leads ever stored
    expired: int  # of those, removed again because they were older than the retention
    revision: int  # times that the counts were made anew
    retention_cutoff: int  # while a month is being removed: the first microsecond that is kept; else 0

    @property
    def total(self) -> int:
        """The number of stored leads."""
        return self.total_stored - self.expired

    @property
    def progress(self) -> int:
        """A number that only grows: a replica with a smaller one has not come as far."""
        return (self.revision << 56) + self.total_stored + self.expired


_NAMES = ("total_stored", "expired", "revision", "retention_cutoff")

# Until migration 0006 has run, workers of release 0.1 keep these sums in lead_counts, under width 0.
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

# The same as one text, for those who want it beside something else.
VERSION_TEXT = select(
    cast(_numbers[0], String)
    + ":"
    + cast(_numbers[1], String)
    + ":"
    + cast(_numbers[2], String)
    + ":"
    + cast(_numbers[3], String)
).scalar_subquery()


def parse_version(text: str) -> DataVersion:
    """Return the version that VERSION_TEXT gave."""
    return DataVersion(*map(int, text.split(":")))


def version(connection: Connection) -> DataVersion:
    """Return the version as of the connection's snapshot, with the exact total: it reads about ten rows."""
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
) -> None:
    """Add to the sums, in the transaction that is open. `slot` (any number) spreads concurrent writers."""
    ADD(connection, [(slot % SLOTS, total_stored, expired, revision, retention_cutoff)])


def lock(connection: Connection) -> None:
    """Keep every writer out until the transaction that is open ends."""
    ADD(connection, [(slot, 0, 0, 0, 0) for slot in range(SLOTS)])


def replace(connection: Connection, new: DataVersion) -> None:
    """Put other sums in the place of those there are, in the transaction that is open. Call `lock` first."""
    connection.execute(delete(lead_totals))
    connection.execute(delete(lead_counts).where(lead_counts.c.width == _LEGACY_WIDTH))
    add(
        connection,
        total_stored=new.total_stored,
        expired=new.expired,
        revision=new.revision,
        retention_cutoff=new.retention_cutoff,
    )


def is_upgrading(connection: Connection) -> bool:
    """Tell whether migration 0006 has not run yet, so that workers of release 0.1 may still store."""
    return connection.execute(select(lead_counts.c.bucket).where(lead_counts.c.width <= 0).limit(1)).first() is not None
