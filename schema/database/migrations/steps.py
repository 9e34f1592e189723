"""Steps of a migration that may be repeated: MySQL and MariaDB commit each DDL statement by itself.

A run that was cut short leaves some steps done. Each of these does nothing when it finds its work done.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *columns: sa.Column[Any], **options: Any) -> None:
    """Make a table, unless it is there."""
    op.create_table(name, *columns, if_not_exists=True, **options)


def drop_table(name: str) -> None:
    """Drop a table, unless it is gone."""
    op.drop_table(name, if_exists=True)


def create_index(name: str, table: str, columns: list[str]) -> None:
    """Make an index, unless it is there. MySQL has no CREATE INDEX IF NOT EXISTS."""
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def has_table(name: str) -> bool:
    """Tell whether a table is there."""
    return sa.inspect(op.get_bind()).has_table(name)


def is_bigint(table: str, column: str) -> bool:
    """Tell whether a column is a BIGINT."""
    columns = {each["name"]: each["type"] for each in sa.inspect(op.get_bind()).get_columns(table)}
    return isinstance(columns[column], sa.BigInteger)
