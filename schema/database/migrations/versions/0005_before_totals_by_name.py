"""Tables for the sums over all time and for the minutes to compact, which were rows of lead_counts."""

from typing import Any

import sqlalchemy as sa

from schema.database.migrations import steps

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
TOTALS = ("total_stored", "expired", "revision", "retention_cutoff")


def _number(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **options)


def _slot() -> sa.Column[int]:
    return sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make the tables, empty: release 0.1 goes on with lead_counts, and later code reads both."""
    steps.create_table("lead_totals", _slot(), *map(_number, TOTALS), sqlite_with_rowid=False, **OPTIONS)
    minute = _number("minute", primary_key=True, autoincrement=False)
    steps.create_table("dirty_minutes", minute, _slot(), _number("added"), sqlite_with_rowid=False, **OPTIONS)


def downgrade() -> None:
    """Take the tables away. Migration 0006 has put what is in them back by then."""
    steps.drop_table("dirty_minutes")
    steps.drop_table("lead_totals")
