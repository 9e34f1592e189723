"""The order in which leads were stored: a slot and a position for each, and the last position of each slot.

Transactions of one slot lock its row first and hold it until COMMIT, so positions of a slot become visible in their
order: whoever has seen one has seen all before it. Across slots they order by time, roughly.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from schema.database import engines
from schema.database.engines import Product
from schema.database.lead_row import LeadRow
from schema.database.tables import stored_positions

# A hybrid logical clock: the time in microseconds, but always after the last position. So a database that has lost its
# last commits, in a failover or from a backup, goes on after every position that was ever read.
_INSERT = "INSERT INTO stored_positions (slot, last_position) VALUES"
_MYSQL = f"{_INSERT} (%s, %s) ON DUPLICATE KEY UPDATE last_position = GREATEST(last_position + %s, %s)"
_ADVANCE = {
    Product.SQLITE: f"{_INSERT} (?, ?) ON CONFLICT DO UPDATE SET last_position = max(last_position + ?, ?)",
    Product.MYSQL: _MYSQL,
    Product.MARIADB: _MYSQL,
}
_LAST = select(stored_positions.c.last_position).where(stored_positions.c.slot == bindparam("slot"))
_ALL = select(stored_positions.c.slot, stored_positions.c.last_position)


def advance(connection: Connection, slot: int, number: int, now: int) -> int:
    """Give out the next `number` positions of a slot in the open transaction; return the first.

    `now` is in microseconds since 1970. Call it before the transaction's other statements: whoever stores in the same
    slot blocks until its end. Positions of a transaction that is rolled back may be given out again.
    """
    end = now + number - 1
    connection.exec_driver_sql(_ADVANCE[engines.product_of(connection)], (slot, end, number, end))
    return int(connection.execute(_LAST, {"slot": slot}).scalar_one()) - number + 1


def place(connection: Connection, rows: Sequence[LeadRow], slot: int, now: int) -> list[LeadRow]:
    """Return `rows` with the next positions of a slot, as `advance` gives them out."""
    if not rows:
        return []
    first = advance(connection, slot, len(rows), now)
    return [row._replace(stored_slot=slot, stored_position=position) for position, row in enumerate(rows, first)]


def read(connection: Connection) -> dict[int, int]:
    """Return the last position of each slot that has one, as of the connection's snapshot."""
    return {int(slot): int(position) for slot, position in connection.execute(_ALL)}
