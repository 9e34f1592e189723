"""Idempotency keys that outlive Redis, and the record of dropped dead letters."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
LEAD_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the two tables."""
    steps.create_table(
        "idempotency_keys",
        sa.Column("key", DIGEST, primary_key=True),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("lead_id", LEAD_ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_index("idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    steps.create_table(
        "dropped_leads",
        sa.Column("lead_id", LEAD_ID, primary_key=True),
        sa.Column("dropped_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )


def downgrade() -> None:
    """Drop them."""
    steps.drop_table("dropped_leads")
    steps.drop_table("idempotency_keys")
