"""Upsert: adds to rows of a table of numbers or inserts them, in the SQL of each database."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Table

from schema.database import engines
from schema.database.engines import Product


class Upsert:
    """Adds numbers to the rows of one table by primary key, and inserts missing rows."""

    def __init__(self, table: Table) -> None:
        # SQL text for the driver, with its placeholders.
        keys = [column.name for column in table.primary_key]
        numbers = [column.name for column in table.columns if not column.primary_key]
        self.statements = {product: _statement(product, table.name, keys, numbers) for product in Product}

    def __call__(self, connection: Connection, rows: Iterable[Sequence[int | str]]) -> None:
        """Add the numbers of `rows`, each in the order of the columns, in the open transaction."""
        # Sorted, so that all transactions lock rows in the same order, and passed to the driver directly, because
        # SQLAlchemy would process each of the hundreds of rows of a batch.
        found = sorted(tuple(row) for row in rows)
        if found:
            connection.exec_driver_sql(self.statements[engines.product_of(connection)], found)


def _statement(product: Product, table: str, keys: list[str], numbers: list[str]) -> str:
    columns = [*keys, *numbers]
    if product is Product.SQLITE:
        places, sums = "?", [f"{each} = {each} + excluded.{each}" for each in numbers]
        tail = f"ON CONFLICT DO UPDATE SET {', '.join(sums)}"
    else:
        # Quoted: STORED is a reserved word of MySQL's.
        columns = [f"`{each}`" for each in columns]
        quoted = [f"`{each}`" for each in numbers]
        places = "%s"
        if product is Product.MYSQL:
            sums = [f"{each} = {table}.{each} + added_row.{each}" for each in quoted]
            tail = f"AS added_row ON DUPLICATE KEY UPDATE {', '.join(sums)}"
        else:
            # MariaDB has no row alias.
            sums = [f"{each} = {each} + VALUES({each})" for each in quoted]
            tail = f"ON DUPLICATE KEY UPDATE {', '.join(sums)}"
    # Names of our own, no data.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places for _ in columns)}) {tail}"  # noqa: S608 (no data)
