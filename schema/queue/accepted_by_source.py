"""Counts of accepted leads of each source: kept in Redis with the append, copied to the database, as those of all are.

They belong to the epoch of `schema.queue.accepted_counts`: absolute numbers, and copying twice does no harm. The daily
cap of a source is counted in the same hash.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from schema.counts.widths import DAY
from schema.database.tables import source_accepted_counts
from schema.queue.accepted_counts import KEEP_SECONDS, copy_rows, numbers_of, sums_by_bucket
from schema.queue.keys import MOVED_MARK


class Bucket(NamedTuple):
    """A bucket of one source."""

    width: int  # seconds
    first: int  # first second since 1970
    source: str

    @property
    def field(self) -> str:
        """Its field in the hash `schema.queue.keys.SOURCES_ACCEPTED`."""
        return f"{self.width}:{self.first}:{self.source}"


class AcceptedBySource(NamedTuple):
    """The counts in a shard: leads accepted of each source in each bucket since the shard's epoch began."""

    epoch: int  # of schema.queue.accepted_counts.Accepted
    numbers: Mapping[Bucket, int]
    moved: Mapping[Bucket, int]  # of the queue that was moved here, which has copied its counts itself

    @classmethod
    def parse(cls, epoch: int, hash_: Mapping[bytes, bytes]) -> "AcceptedBySource":
        """Parse the hash `schema.queue.keys.SOURCES_ACCEPTED`; an absent hash gives no numbers."""
        numbers: dict[Bucket, int] = {}
        moved: dict[Bucket, int] = {}
        for name, value in hash_.items():
            field = name.decode()
            numbers_or_moved = moved if field.startswith(MOVED_MARK) else numbers
            numbers_or_moved[_bucket(field.removeprefix(MOVED_MARK))] = int(value)
        return cls(epoch, numbers, moved)

    def since(self, before: "AcceptedBySource | None") -> "AcceptedBySource":
        """Return the counts without the numbers that were the same before."""
        if before is None or before.epoch != self.epoch:
            return self
        same = before.numbers
        return self._replace(
            numbers={each: number for each, number in self.numbers.items() if same.get(each) != number}
        )

    def outdated(self, now: float) -> list[str]:
        """Return the fields of the hash that may be deleted once they are copied; `now` in seconds since 1970."""
        return [each.field for each in self.numbers if _is_over(each, now)] + [
            MOVED_MARK + each.field for each in self.moved if _is_over(each, now)
        ]

    def of_days(self) -> Counter[Bucket]:
        """Return what counts against the daily caps, what was moved here too."""
        return Counter({each: number for each, number in self.numbers.items() if each.width == DAY}) + Counter(
            self.moved
        )


def _bucket(field: str) -> Bucket:
    width, first, source = field.split(":")
    return Bucket(int(width), int(first), source)


def _is_over(bucket: Bucket, now: float) -> bool:
    return bucket.first + bucket.width + KEEP_SECONDS[bucket.width] < now


def copy(connection: Connection, accepted: AcceptedBySource) -> None:
    """Copy the numbers to the database in the open transaction. A number in the database never decreases."""
    copy_rows(
        connection,
        source_accepted_counts,
        [
            {"source": source, "width": width, "bucket": first, "epoch": accepted.epoch, "accepted": number}
            for (width, first, source), number in sorted(accepted.numbers.items())
        ],
    )


def days_since(connection: Connection, start: int) -> list[tuple[Bucket, int, int]]:
    """Return bucket, epoch and accepted leads of each source's days that end after `start`, in seconds since 1970."""
    table = source_accepted_counts
    query = select(table.c.source, table.c.bucket, table.c.epoch, table.c.accepted)
    rows = connection.execute(query.where(table.c.width == DAY, table.c.bucket > start - DAY))
    return [(Bucket(DAY, int(first), source), int(epoch), int(number)) for source, first, epoch, number in rows]


def by_bucket(
    connection: Connection, fresh: Iterable[AcceptedBySource], source: str, width: int, start: int, end: int
) -> dict[int, int]:
    """Return the source's accepted leads by first second of the buckets of `width` that begin in [start, end).

    `width`, one of schema.counts.by_source.SOURCE_WIDTHS, and the bounds are in seconds. `fresh` are the counts that
    Redis has in each shard, which the database may not have yet.
    """
    table = source_accepted_counts
    query = select(table.c.bucket, table.c.epoch, table.c.accepted).where(
        table.c.source == source, table.c.width == width, table.c.bucket >= start, table.c.bucket < end
    )
    held = (
        (bucket.first, shard.epoch, number)
        for shard in fresh
        for bucket, number in shard.numbers.items()
        if (bucket.source, bucket.width) == (source, width) and start <= bucket.first < end
    )
    return sums_by_bucket(numbers_of(connection, query), held)
