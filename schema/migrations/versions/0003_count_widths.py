"""Counts in microseconds, with wider and narrower buckets, and the sums over all time."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
SPAN = 32 * DAY


def _make(name: str, width: type[sa.Integer]) -> None:
    op.create_table(
        name,
        sa.Column("width", width, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )


def _take_the_place(name: str) -> None:
    op.drop_table("lead_counts")
    op.rename_table(name, "lead_counts")


def upgrade() -> None:
    """Carry the counts over; mark every minute, so that what is not needed below it goes."""
    _make("new_counts", sa.BigInteger)
    op.execute(
        "INSERT INTO new_counts (width, bucket, slot, stored) "
        "SELECT width * 1000000, bucket * 1000000, slot, stored FROM lead_counts"
    )
    # Spans of 32 days out of days, marks on minutes (-1), and the sum over all time (0): see schema.counts.
    for width, bucket, source in (
        (SPAN, f"bucket - bucket % {SPAN}", DAY),
        (-1, "bucket", MINUTE),
        (0, "0", DAY),
    ):
        op.execute(
            "INSERT INTO new_counts (width, bucket, slot, stored) "  # noqa: S608, all of it stands above
            f"SELECT {width}, b, 0, SUM(n) FROM "
            f"(SELECT {bucket} AS b, stored AS n FROM new_counts WHERE width = {source}) AS found GROUP BY b"
        )
    _take_the_place("new_counts")


def downgrade() -> None:
    """Leave out what the older code does not know. Seconds that were removed stay away: pages within are lost."""
    _make("old_counts", sa.Integer)
    op.execute(
        "INSERT INTO old_counts (width, bucket, slot, stored) "
        "SELECT width / 1000000, bucket / 1000000, slot, stored FROM lead_counts "
        "WHERE width IN (1000000, 60000000, 3600000000, 86400000000)"
    )
    _take_the_place("old_counts")
