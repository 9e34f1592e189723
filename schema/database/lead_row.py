"""A row of the table `leads`, on its way in and out."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from schema.lead.lead_id import LeadId


class LeadRow(NamedTuple):
    """A row of the table `leads`, its columns in the table's order, each as every database of ours takes it."""

    id: LeadId
    first_name: str
    last_name: str
    email: str
    phone: str
    date_of_birth: str  # YYYY-MM-DD
    additional_data: str | None  # JSON
    created_at: str  # YYYY-MM-DD HH:MM:SS.ffffff, UTC
    updated_at: str


_INSERT = f"INSERT INTO leads ({', '.join(LeadRow._fields)}) VALUES"
# PyMySQL makes one statement of many rows only while VALUES holds bare placeholders.
_INSERT_MYSQL = f"{_INSERT} ({', '.join('%s' for _ in LeadRow._fields)})"
_INSERT_SQLITE = f"{_INSERT} ({', '.join('?' for _ in LeadRow._fields)})"


def insert_rows(connection: Connection, rows: Sequence[LeadRow]) -> None:
    """Insert rows in one statement, or on MySQL in as many as its driver's bound of a megabyte makes of them.

    Raises SQLAlchemyError, and UnicodeError for a text that no encoding takes.
    """
    # SQLAlchemy's own INSERT would copy each value of each row twice on its way to the driver.
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(_INSERT_SQLITE if sqlite else _INSERT_MYSQL, list(rows))
