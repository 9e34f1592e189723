"""The order in which leads were stored."""

from typing import Any

import sqlalchemy as sa

from schema.database.migrations import steps

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """Make the table, and the columns of `leads`, which are NULL in all rows there are."""
    steps.create_table(
        "stored_positions",
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.add_column("leads", sa.Column("stored_slot", sa.SmallInteger))
    steps.add_column("leads", sa.Column("stored_position", sa.BigInteger))
    steps.create_index("leads_stored", "leads", ["stored_slot", "stored_position", "id"])


def downgrade() -> None:
    """Drop them: whoever reads what is new begins anew after the next upgrade."""
    steps.drop_index("leads_stored", "leads")
    steps.drop_column("leads", "stored_position")
    steps.drop_column("leads", "stored_slot")
    steps.drop_table("stored_positions")
