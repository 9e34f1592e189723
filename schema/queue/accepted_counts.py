"""Counts of accepted leads by time bucket: kept in Redis with the append, copied to the database.

The append adds to a hash in Redis (see schema.queue.keys) in the same atomic step. The sweep
copies its numbers here as they are, not as differences, so copying twice does no harm and
the numbers outlive a Redis that loses its data; such a Redis begins a new epoch.
"""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import mysql, sqlite

from schema.counts.widths import DAY, HOUR, MINUTE
from schema.database.tables import accepted_counts
from schema.queue.keys import EPOCH_FIELD, FIRST_FIELD

ACCEPTED_WIDTHS = (DAY, HOUR, MINUTE)

# How long a bucket stays in Redis after it began: more than any two clocks differ.
KEEP_SECONDS = {MINUTE: DAY, HOUR: 2 * DAY, DAY: 3 * DAY}

Bucket = tuple[int, int]  # width and first second


@dataclass(frozen=True)
class Accepted:
    """The numbers that Redis holds: leads accepted in each bucket since its epoch began."""

    epoch: int  # microseconds since 1970 by Redis's clock
    first: bool  # whether it is known that there was no epoch before
    numbers: dict[Bucket, int]

    @classmethod
    def parse(cls, hash_: dict[bytes, bytes]) -> "Accepted":
        """Read the hash of `schema.queue.keys.ACCEPTED`; an absent hash gives no numbers."""
        fields = {name.decode(): int(value) for name, value in hash_.items()}
        epoch = fields.pop(EPOCH_FIELD, 0)
        first = bool(fields.pop(FIRST_FIELD, 0))
        return cls(epoch, first, {_bucket(name): number for name, number in fields.items()})

    def outdated(self, now: float) -> list[str]:
        """Return the names of the hash's fields that may be deleted once they are copied."""
        return [f"{width}:{first}" for width, first in self.numbers if first + width + KEEP_SECONDS[width] < now]


def _bucket(field: str) -> Bucket:
    width, first = field.split(":")
    return int(width), int(first)


def copy(connection: Connection, accepted: Accepted) -> None:
    """Keep the numbers in the database. One that is there already never goes down."""
    if not accepted.numbers:
        return
    table = accepted_counts
    rows = [
        {"width": width, "bucket": first, "epoch": accepted.epoch, "accepted": number}
        for (width, first), number in sorted(accepted.numbers.items())
    ]
    if connection.dialect.name == "sqlite":
        upsert = sqlite.insert(table).values(rows)
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[table.c.width, table.c.bucket, table.c.epoch],
                set_={"accepted": func.max(table.c.accepted, upsert.excluded.accepted)},
            )
        )
    else:
        statement = mysql.insert(table).values(rows)
        greater = func.greatest(table.c.accepted, statement.inserted.accepted)
        connection.execute(statement.on_duplicate_key_update(accepted=greater))


def is_first(connection: Connection, epoch: int) -> bool:
    """Tell whether the database knows of no other epoch: Redis has never lost its data."""
    # Days alone: minutes are half a million rows a year.
    table = accepted_counts
    query = select(table.c.epoch).where(table.c.width == DAY, table.c.epoch != epoch).limit(1)
    return connection.execute(query).first() is None


def total(connection: Connection, fresh: Accepted) -> int:
    """Return the number of leads ever accepted."""
    return sum(by_bucket(connection, fresh, DAY, 0, 1 << 40).values())


def by_bucket(connection: Connection, fresh: Accepted, width: int, start: int, end: int) -> dict[int, int]:
    """Return the leads accepted in each bucket of `width` that begins in [start, end), empty ones left out.

    `fresh` holds what Redis knows and the database may not yet.
    """
    table = accepted_counts
    query = select(table.c.bucket, table.c.epoch, table.c.accepted).where(
        table.c.width == width, table.c.bucket >= start, table.c.bucket < end
    )
    numbers = {(int(first), int(epoch)): int(number) for first, epoch, number in connection.execute(query)}
    for (each, first), number in fresh.numbers.items():
        if each == width and start <= first < end:
            key = first, fresh.epoch
            numbers[key] = max(number, numbers.get(key, 0))
    sums: defaultdict[int, int] = defaultdict(int)
    for (first, _), number in numbers.items():
        sums[first] += number
    return dict(sums)
