"""Erased leads in the ledger, and the addresses and numbers that are kept out."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from schema.database.migrations import steps

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

phase = "before"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
LEAD_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

erased_leads = sa.table("erased_leads", sa.column("lead_id", LEAD_ID), sa.column("erased_at", MOMENT))
totals = sa.table("lead_totals", sa.column("total_stored"), sa.column("erased"))
dropped_leads = sa.table("dropped_leads", sa.column("lead_id", LEAD_ID), sa.column("dropped_at", MOMENT))


def upgrade() -> None:
    """Make the tables, and the sum of erased rows beside the other sums."""
    steps.create_table(
        "erased_leads",
        sa.Column("lead_id", LEAD_ID, primary_key=True),
        sa.Column("erased_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "kept_out",
        sa.Column("hash", DIGEST, primary_key=True),
        sa.Column("added_at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    steps.create_table(
        "kept_out_salt",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("salt", DIGEST, nullable=False),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    # The default serves workers that were started before.
    steps.add_column("lead_totals", sa.Column("erased", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them. Release 0.1 has no place for erased leads: its ledger counts them as dropped, and no row of theirs."""
    # Until the table is gone the column is there.
    if steps.has_table("erased_leads"):
        less = totals.c.total_stored - totals.c.erased
        op.execute(sa.update(totals).ordered_values((totals.c.total_stored, less), (totals.c.erased, 0)))
        known = sa.select(dropped_leads.c.lead_id)
        moved = sa.select(erased_leads.c.lead_id, erased_leads.c.erased_at).where(erased_leads.c.lead_id.not_in(known))
        op.execute(sa.insert(dropped_leads).from_select(["lead_id", "dropped_at"], moved))
    steps.drop_table("erased_leads")
    steps.drop_table("kept_out_salt")
    steps.drop_table("kept_out")
    steps.drop_column("lead_totals", "erased")
