"""The audit trail: who did what."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
EVENT_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def upgrade() -> None:
    """Make the table."""
    steps.create_table(
        "audit_trail",
        sa.Column("id", EVENT_ID, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        _text("action", 32),
        _text("user", 64),
        _text("client", 64),
        _text("parameters", 255),
        sa.Column("row_count", sa.BigInteger),
        _text("subject", 64),
        _text("request_id", 128),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_index("audit_trail_at", "audit_trail", ["at"])
    steps.create_index("audit_trail_user", "audit_trail", ["user", "at"])


def downgrade() -> None:
    """Drop it, with all that it holds."""
    steps.drop_table("audit_trail")
