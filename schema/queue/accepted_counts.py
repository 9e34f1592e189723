"""Counts of accepted leads by time bucket: kept in Redis with the append, copied to the database.

The append adds to a hash in Redis (see schema.queue.keys) in the same atomic step. The sweep
copies absolute numbers, not differences, so copying twice does no harm. The copies outlive a
Redis that loses its data; such a Redis begins a new epoch.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select
from sqlalchemy.dialects import mysql, sqlite

from schema.counts.widths import DAY, HOUR, MINUTE
from schema.database.tables import accepted_counts
from schema.queue.keys import EPOCH_FIELD, FIRST_FIELD

ACCEPTED_WIDTHS = (DAY, HOUR, MINUTE)

# Seconds that a bucket stays in Redis after its end: longer than any clock skew between hosts.
KEEP_SECONDS = {MINUTE: DAY, HOUR: 2 * DAY, DAY: 3 * DAY}

Bucket = tuple[int, int]  # width and first second


@dataclass(frozen=True)
class Accepted:
    """The counts in Redis: leads accepted in each bucket since its epoch began."""

    epoch: int  # microseconds since 1970 by Redis's clock, the last two digits the shard's number
    first: bool  # True once it is known that there was no earlier epoch
    numbers: dict[Bucket, int]

    @classmethod
    def parse(cls, hash_: dict[bytes, bytes]) -> "Accepted":
        """Parse the hash `schema.queue.keys.ACCEPTED`; an absent hash gives no numbers."""
        fields = {name.decode(): int(value) for name, value in hash_.items()}
        epoch = fields.pop(EPOCH_FIELD, 0)
        first = bool(fields.pop(FIRST_FIELD, 0))
        return cls(epoch, first, {_bucket(name): number for name, number in fields.items()})

    def since(self, before: "Accepted | None") -> "Accepted":
        """Return the counts without the numbers that were the same before."""
        if before is None or before.epoch != self.epoch:
            return self
        same = before.numbers
        return replace(
            self, numbers={each: number for each, number in self.numbers.items() if same.get(each) != number}
        )

    def outdated(self, now: float) -> list[str]:
        """Return the fields of the hash that may be deleted once they are copied; `now` in seconds since 1970."""
        return [f"{width}:{first}" for width, first in self.numbers if first + width + KEEP_SECONDS[width] < now]


def _bucket(field: str) -> Bucket:
    width, first = field.split(":")
    return int(width), int(first)


def copy(connection: Connection, accepted: Accepted) -> None:
    """Copy the numbers to the database in the open transaction. A number in the database never decreases."""
    copy_rows(
        connection,
        accepted_counts,
        [
            {"width": width, "bucket": first, "epoch": accepted.epoch, "accepted": number}
            for (width, first), number in sorted(accepted.numbers.items())
        ],
    )


def copy_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows with a number `accepted`, or raise that of a row which is there, in the open transaction."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        upsert = sqlite.insert(table)
        raised = {"accepted": func.max(table.c.accepted, upsert.excluded.accepted)}
        connection.execute(upsert.on_conflict_do_update(index_elements=list(table.primary_key), set_=raised), rows)
    else:
        statement = mysql.insert(table)
        greater = func.greatest(table.c.accepted, statement.inserted.accepted)
        connection.execute(statement.on_duplicate_key_update(accepted=greater), rows)


def sums_by_bucket(stored: Iterable[tuple[int, int, int]], fresh: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """Add up the epochs of each bucket, given as first second, epoch and number.

    Of one epoch the greater number counts: the database's copy may be older than what Redis has, or younger.
    """
    numbers: dict[tuple[int, int], int] = {}
    for first, epoch, number in chain(stored, fresh):
        numbers[first, epoch] = max(number, numbers.get((first, epoch), 0))
    sums: defaultdict[int, int] = defaultdict(int)
    for (first, _), number in numbers.items():
        sums[first] += number
    return dict(sums)


def are_first(connection: Connection, epochs: Collection[int]) -> bool:
    """Tell whether the database has no epochs but these of all shards, so that Redis has never lost its data."""
    # Days only, because minutes have half a million rows a year.
    table = accepted_counts
    query = select(table.c.epoch).where(table.c.width == DAY, table.c.epoch.not_in(epochs)).limit(1)
    return connection.execute(query).first() is None


def total(connection: Connection, fresh: Sequence[Accepted]) -> int:
    """Return the number of leads ever accepted, from the database and from `fresh`, as in `by_bucket`."""
    return sum(by_bucket(connection, fresh, DAY, 0, 1 << 40).values())


def by_bucket(connection: Connection, fresh: Sequence[Accepted], width: int, start: int, end: int) -> dict[int, int]:
    """Return the accepted leads by first second of the buckets of `width` that begin in [start, end), in seconds.

    `fresh` are the counts that Redis has in each shard, which the database may not have yet.
    """
    table = accepted_counts
    query = select(table.c.bucket, table.c.epoch, table.c.accepted).where(
        table.c.width == width, table.c.bucket >= start, table.c.bucket < end
    )
    held = (
        (first, shard.epoch, number)
        for shard in fresh
        for (each, first), number in shard.numbers.items()
        if each == width and start <= first < end
    )
    return sums_by_bucket(numbers_of(connection, query), held)


def numbers_of(connection: Connection, query: Select[Any]) -> list[tuple[int, int, int]]:
    """Return what a query for first second, epoch and number of buckets finds."""
    return [(int(first), int(epoch), int(number)) for first, epoch, number in connection.execute(query)]
