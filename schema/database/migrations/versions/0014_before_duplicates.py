"""Duplicates: the first lead of each contact, which rows are duplicates, and how many by source and time."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
LEAD_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
CONTACT = sa.LargeBinary(10).with_variant(mysql.BINARY(10), "mysql", "mariadb")


def upgrade() -> None:
    """Make the tables, and the columns: no row that is there is a duplicate."""
    steps.create_table(
        "first_leads",
        sa.Column("contact", CONTACT, primary_key=True),
        sa.Column("lead_id", LEAD_ID, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "duplicate_counts",
        sa.Column("source", sa.String(40), primary_key=True),
        sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_index("duplicate_counts_bucket", "duplicate_counts", ["width", "bucket"])
    steps.add_column("leads", sa.Column("duplicate_of", LEAD_ID))
    steps.add_column("leads", sa.Column("is_duplicate", sa.Boolean, nullable=False, server_default="0"))
    steps.create_index("leads_duplicate", "leads", ["is_duplicate", "id"])
    steps.create_index("leads_source_duplicate", "leads", ["source", "is_duplicate", "id"])
    steps.add_column("sources", sa.Column("duplicate_days", sa.Integer))
    steps.add_column("sources", sa.Column("refuses_duplicates", sa.Boolean, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them: which rows are duplicates is forgotten."""
    steps.drop_column("sources", "refuses_duplicates")
    steps.drop_column("sources", "duplicate_days")
    steps.drop_index("leads_source_duplicate", "leads")
    steps.drop_index("leads_duplicate", "leads")
    steps.drop_column("leads", "is_duplicate")
    steps.drop_column("leads", "duplicate_of")
    steps.drop_table("duplicate_counts")
    steps.drop_table("first_leads")
