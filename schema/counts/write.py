"""Counts a batch in the transaction that inserts it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from sqlalchemy import Connection

from schema.counts.widths import (
    CENTISECOND,
    DENSE,
    EVER,
    FINEST,
    LEDGER,
    MARK,
    MINUTES,
    SLOTS,
    SPAN,
    USEFUL,
    WIDTHS,
    first_of,
)
from schema.database import engines
from schema.database.engines import Product
from schema.lead import lead_id
from schema.lead.lead_id import LeadId


def add(connection: Connection, ids: Iterable[LeadId], slot: int) -> None:
    """Count newly inserted leads, in their own transaction. `slot` (any number) spreads concurrent writers."""
    numbers = numbers_of(ids)
    if numbers:
        upsert(connection, numbers, slot % SLOTS)


def numbers_of(ids: Iterable[LeadId]) -> dict[tuple[int, int], int]:
    """Return what newly inserted leads add to the rows of the table, by width and bucket."""
    moments = lead_id.micros_of_all(ids)
    if not moments:
        return {}
    sums = {CENTISECOND: Counter([each - each % CENTISECOND for each in moments])}
    for narrower, width in pairwise(reversed(WIDTHS[:-1])):
        sums[width] = Counter()
        for bucket, number in sums[narrower].items():
            sums[width][first_of(bucket, width)] += number
    dense = {bucket for bucket, number in sums[CENTISECOND].items() if number >= DENSE}
    sums[FINEST] = Counter([each - each % FINEST for each in moments if each - each % CENTISECOND in dense])
    numbers = {(LEDGER, EVER): len(moments), **{(MARK, bucket): number for bucket, number in sums[MINUTES].items()}}
    for wider, width in pairwise((SPAN, *WIDTHS)):
        above = sums[wider]
        useful = 0 if width >= MINUTES else DENSE if width == FINEST else USEFUL if len(above) > 2 else 0
        # The batches before and after go on where this one begins and ends, perhaps with many more.
        edges = (min(above), max(above)) if useful == USEFUL else ()
        for bucket, number in sums[width].items():
            first = first_of(bucket, wider)
            if above[first] >= useful or first in edges:
                numbers[width, bucket] = number
    return numbers


def upsert(connection: Connection, numbers: Mapping[tuple[int, int], int], *slots: int) -> None:
    """Add numbers to the rows of these slots, keyed by width and bucket; make those that are not there."""
    # Sorted, so that two transactions take their locks in one order.
    rows = [
        (width, bucket, slot, number)
        for (width, bucket), number in sorted(numbers.items())
        for slot in sorted(slots or (0,))
    ]
    # Not SQLAlchemy's: a batch has some hundred of these rows, and the driver takes them as they are.
    connection.exec_driver_sql(UPSERTS[engines.product_of(connection)], rows)


# Adds to a row, or makes it: width, bucket, slot, leads. STORED is a reserved word of MySQL's; there VALUES() is
# deprecated, and MariaDB has no row alias.
UPSERTS = {
    Product.SQLITE: "INSERT INTO lead_counts (width, bucket, slot, stored) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET stored = stored + excluded.stored",
    Product.MYSQL: "INSERT INTO lead_counts (width, bucket, slot, `stored`) VALUES (%s, %s, %s, %s) AS added "
    "ON DUPLICATE KEY UPDATE `stored` = lead_counts.`stored` + added.`stored`",
    Product.MARIADB: "INSERT INTO lead_counts (width, bucket, slot, `stored`) VALUES (%s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE `stored` = `stored` + VALUES(`stored`)",
}
