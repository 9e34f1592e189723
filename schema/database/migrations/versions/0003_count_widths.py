"""Counts in microseconds, with wider and narrower buckets, and the sums over all time."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from schema.database.migrations import steps

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SPAN = 32 * DAY

NAMES = ("width", "bucket", "slot", "stored")


def _table(name: str) -> sa.TableClause:
    # As constructs, so that SQLAlchemy quotes what a database reserves: MySQL has a word STORED.
    return sa.table(name, *(sa.column(each, sa.BigInteger) for each in NAMES))


def _make(name: str, width: type[sa.Integer]) -> sa.TableClause:
    """Make the table anew: an earlier run may have left it filled in part."""
    steps.drop_table(name)
    steps.create_table(
        name,
        sa.Column("width", width, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    return _table(name)


def _take_the_place(name: str) -> None:
    """Put a filled table in the place of lead_counts. The first DROP commits what was filled in."""
    steps.drop_table("lead_counts")
    op.rename_table(name, "lead_counts")


def upgrade() -> None:
    """Carry the counts over; mark every minute, so that what is not needed below it goes."""
    if not steps.has_table("lead_counts"):
        _take_the_place("new_counts")
    elif not steps.is_bigint("lead_counts", "width"):
        _fill(_make("new_counts", sa.BigInteger))
        _take_the_place("new_counts")


def _fill(new: sa.TableClause) -> None:
    old = _table("lead_counts")
    op.execute(
        sa.insert(new).from_select(
            NAMES, sa.select(old.c.width * SECOND, old.c.bucket * SECOND, old.c.slot, old.c.stored)
        )
    )
    # Spans of 32 days out of days, marks on minutes (-1), and the sum over all time (0): see schema.counts.lookup.
    for width, bucket, source in (
        (SPAN, new.c.bucket - new.c.bucket % SPAN, DAY),
        (-1, new.c.bucket, MINUTE),
        (0, sa.literal_column("0"), DAY),
    ):
        found = sa.select(bucket.label("b"), new.c.stored.label("n")).where(new.c.width == source).subquery("found")
        summed = sa.select(sa.literal(width), found.c.b, sa.literal(0), sa.func.sum(found.c.n)).group_by(found.c.b)
        op.execute(sa.insert(new).from_select(NAMES, summed))


def downgrade() -> None:
    """Leave out what the older code does not know. Seconds that were removed stay away: pages within are lost."""
    if not steps.has_table("lead_counts"):
        _take_the_place("old_counts")
    elif steps.is_bigint("lead_counts", "width"):
        old = _make("old_counts", sa.Integer)
        new = _table("lead_counts")
        kept = sa.select(new.c.width // SECOND, new.c.bucket // SECOND, new.c.slot, new.c.stored)
        op.execute(sa.insert(old).from_select(NAMES, kept.where(new.c.width.in_((SECOND, MINUTE, HOUR, DAY)))))
        _take_the_place("old_counts")
