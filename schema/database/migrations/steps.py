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
    if not _has_index(name, table):
        op.create_index(name, table, columns)


def drop_index(name: str, table: str) -> None:
    """Drop an index, unless it is gone. MySQL has no DROP INDEX IF EXISTS."""
    if _has_index(name, table):
        op.drop_index(name, table)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, unless it is there. MySQL has no ADD COLUMN IF NOT EXISTS."""
    if column.name not in _columns(table):
        op.add_column(table, column)


def drop_column(table: str, name: str) -> None:
    """Drop a column, unless it is gone."""
    if name in _columns(table):
        op.drop_column(table, name)


def has_table(name: str) -> bool:
    """Tell whether a table is there."""
    return sa.inspect(op.get_bind()).has_table(name)


def is_bigint(table: str, column: str) -> bool:
    """Tell whether a column is a BIGINT."""
    return isinstance(_columns(table)[column], sa.BigInteger)


def _has_index(name: str, table: str) -> bool:
    return name in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _columns(table: str) -> dict[str, Any]:
    return {each["name"]: each["type"] for each in sa.inspect(op.get_bind()).get_columns(table)}
