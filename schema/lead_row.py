"""A row of the table `leads` on its way into the database.

PyMySQL takes 4 to 5 µs over the nine values of a row, each escaped by itself. Here a row is one
value that knows how it is written, which takes a third of that.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pymysql.converters import escape_string
from sqlalchemy import Connection

from schema.lead_id import LeadId


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
_INSERT_SQLITE = f"{_INSERT} ({', '.join('?' for _ in LeadRow._fields)})"
# A bare placeholder, or PyMySQL would send row by row.
_INSERT_MYSQL = f"{_INSERT} (%s)"


def insert_rows(connection: Connection, rows: list[LeadRow]) -> None:
    """Insert rows in one statement, as far as the driver's bound on its length allows.

    Raises SQLAlchemyError.
    """
    # The rows are what the driver takes; SQLAlchemy would copy each value of each row twice on their way there.
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_INSERT_SQLITE, rows)
    else:
        connection.exec_driver_sql(_INSERT_MYSQL, [(row,) for row in rows])


def mysql_literal(row: LeadRow, _: Mapping[Any, Any] | None = None) -> str:
    r"""Write a row's values as they stand in a statement: PyMySQL's encoder of a LeadRow.

    Only for connections without NO_BACKSLASH_ESCAPES, as schema.database opens them. What needs escaping there in
    quotes is the quote, the backslash and NUL (MySQL's manual on string literals).
    """
    key, first, last, email, phone, born, data, created, updated = row
    texts = f"{first}{last}{email}{phone}{born}{data}{created}{updated}"
    if "'" in texts or "\\" in texts or "\0" in texts:
        first, last, email, phone, born, created, updated = map(
            escape_string, (first, last, email, phone, born, created, updated)
        )
        data = None if data is None else escape_string(data)
    extra = "NULL" if data is None else f"'{data}'"
    return f"X'{key.hex()}','{first}','{last}','{email}','{phone}','{born}',{extra},'{created}','{updated}'"
