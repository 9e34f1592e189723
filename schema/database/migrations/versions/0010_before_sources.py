"""Sources with API keys, counts by source, and who sent each lead and with which consent."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
NAME = sa.String(40)


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make the tables, and the columns of `leads`, which are NULL in all rows there are."""
    steps.create_table(
        "sources",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("roles", sa.String(255), nullable=False),
        sa.Column("rate", sa.Integer, nullable=False),
        sa.Column("daily_cap", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "source_keys",
        sa.Column("prefix", sa.String(15), primary_key=True),
        sa.Column("source", NAME, nullable=False),
        sa.Column("hash", DIGEST, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_index("source_keys_source", "source_keys", ["source"])
    for table, last, number in (("source_counts", "slot", "stored"), ("source_accepted_counts", "epoch", "accepted")):
        steps.create_table(
            table,
            sa.Column("source", NAME, primary_key=True),
            _key("width", sa.Integer),
            _key("bucket", sa.BigInteger),
            _key(last, sa.SmallInteger if last == "slot" else sa.BigInteger),
            sa.Column(number, sa.BigInteger, nullable=False),
            sqlite_with_rowid=False,
            **OPTIONS,
        )
    steps.create_index("source_counts_bucket", "source_counts", ["width", "bucket"])
    steps.create_index("source_accepted_counts_bucket", "source_accepted_counts", ["width", "bucket"])
    steps.add_column("leads", sa.Column("source", NAME))
    steps.add_column("leads", sa.Column("consent", sa.Text))
    steps.create_index("leads_source", "leads", ["source", "id"])


def downgrade() -> None:
    """Drop them: who sent which lead, and with which consent, is forgotten, and API keys are."""
    steps.drop_index("leads_source", "leads")
    steps.drop_column("leads", "consent")
    steps.drop_column("leads", "source")
    for table in ("source_accepted_counts", "source_counts", "source_keys", "sources"):
        steps.drop_table(table)
