"""Tables for the sums over all time and for the minutes to compact, which were rows of lead_counts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from schema.database.migrations import steps

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
COUNTS = ("width", "bucket", "slot", "stored")
TOTALS = ("total_stored", "expired", "revision", "retention_cutoff")
TOTALS_WIDTH, DIRTY_WIDTH = 0, -1


def _table(name: str, *columns: str) -> sa.TableClause:
    # As constructs, so that SQLAlchemy quotes what a database reserves: MySQL has a word STORED.
    return sa.table(name, *(sa.column(each, sa.BigInteger) for each in columns))


lead_counts = _table("lead_counts", *COUNTS)
lead_totals = _table("lead_totals", "slot", *TOTALS)
dirty_minutes = _table("dirty_minutes", "minute", "slot", "added")


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
    """Take the tables away. Stop the workers before: what later code has stored goes where release 0.1 reads it."""
    # The first DROP commits it.
    if steps.has_table("dirty_minutes"):
        _put_back()
    steps.drop_table("dirty_minutes")
    steps.drop_table("lead_totals")


def _put_back() -> None:
    old, new = lead_counts.c, dirty_minutes.c
    free_slot = sa.select(sa.func.coalesce(sa.func.max(old.slot), -1) + 1).where(old.width <= TOTALS_WIDTH)
    for bucket, name in enumerate(TOTALS):
        number = sa.func.sum(lead_totals.c[name])
        total = sa.select(sa.literal(TOTALS_WIDTH), sa.literal(bucket), free_slot.scalar_subquery(), number)
        op.execute(sa.insert(lead_counts).from_select(COUNTS, total.having(number != 0)))
    minutes = sa.select(sa.literal(DIRTY_WIDTH), new.minute, free_slot.scalar_subquery(), sa.func.sum(new.added))
    op.execute(sa.insert(lead_counts).from_select(COUNTS, minutes.group_by(new.minute)))
    op.execute(sa.delete(dirty_minutes))
    op.execute(sa.delete(lead_totals))
