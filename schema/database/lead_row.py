"""A row of the table `leads`, and its insertion."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from schema.lead.lead_id import LeadId


class LeadRow(NamedTuple):
    """A row of the table `leads`: columns in the table's order, with values that every supported database accepts."""

    id: LeadId
    first_name: str
    last_name: str
    email: str
    phone: str
    date_of_birth: str  # YYYY-MM-DD
    additional_data: str | None  # JSON
    created_at: str  # YYYY-MM-DD HH:MM:SS.ffffff, UTC
    updated_at: str
    source: str | None = None
    consent: str | None = None  # JSON
    duplicate_of: LeadId | None = None
    is_duplicate: bool = False  # whether `duplicate_of` is there
    stored_slot: int | None = None  # both from schema.database.stored_positions
    stored_position: int | None = None


_INSERT = f"INSERT INTO leads ({', '.join(LeadRow._fields)}) VALUES"
# PyMySQL's executemany makes one statement of many rows only if VALUES has bare placeholders.
_INSERT_MYSQL = f"{_INSERT} ({', '.join('%s' for _ in LeadRow._fields)})"
_INSERT_SQLITE = f"{_INSERT} ({', '.join('?' for _ in LeadRow._fields)})"


def insert_rows(connection: Connection, rows: Sequence[LeadRow]) -> None:
    """Insert rows in the open transaction; on MySQL and MariaDB in statements of up to a megabyte, PyMySQL's bound.

    Raises SQLAlchemyError, and UnicodeError for text that cannot be encoded.
    """
    # Through the driver: SQLAlchemy's INSERT would copy each value of each row twice.
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(_INSERT_SQLITE if sqlite else _INSERT_MYSQL, list(rows))
