"""The leads, the counts and the users."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
LEAD_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the first tables."""
    steps.create_table(
        "leads",
        sa.Column("id", LEAD_ID, primary_key=True),
        sa.Column("first_name", sa.String(255), nullable=False),
        sa.Column("last_name", sa.String(255), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("phone", sa.String(16), nullable=False),
        sa.Column("date_of_birth", sa.Date, nullable=False),
        sa.Column("additional_data", sa.Text),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    for column in ("first_name", "last_name", "email", "phone"):
        steps.create_index(f"leads_{column}", "leads", [column, "id"])
    steps.create_table(
        "lead_counts",
        sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "accepted_counts",
        sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("roles", sa.String(255), nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        **OPTIONS,
    )


def downgrade() -> None:
    """Drop them all."""
    for table in ("users", "accepted_counts", "lead_counts", "leads"):
        steps.drop_table(table)
