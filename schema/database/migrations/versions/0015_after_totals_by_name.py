"""The sums and dirty minutes that release 0.1 kept in lead_counts, under widths 0 and -1, go to tables of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

phase = "after"

COUNTS = ("width", "bucket", "slot", "stored")
TOTALS = ("total_stored", "expired", "revision", "retention_cutoff")
TOTALS_WIDTH, DIRTY_WIDTH = 0, -1

# Workers store with slots 0 to 63 meanwhile: these rows get others, which nobody else writes.
FREE_SLOT = 64


def _table(name: str, *columns: str) -> sa.TableClause:
    # As constructs, so that SQLAlchemy quotes what a database reserves: MySQL has a word STORED.
    return sa.table(name, *(sa.column(each, sa.BigInteger) for each in columns))


lead_counts = _table("lead_counts", *COUNTS)
lead_totals = _table("lead_totals", "slot", *TOTALS)
dirty_minutes = _table("dirty_minutes", "minute", "slot", "added")


def upgrade() -> None:
    """Move the rows in the migration's one transaction: readers see them in the one place or in the other."""
    old = lead_counts.c
    sums = [sa.func.sum(sa.case((old.bucket == bucket, old.stored), else_=0)) for bucket in range(len(TOTALS))]
    totals = sa.select(sa.literal(FREE_SLOT), *sums).where(old.width == TOTALS_WIDTH).having(sa.func.count() > 0)
    op.execute(sa.insert(lead_totals).from_select(["slot", *TOTALS], totals))
    minutes = sa.select(old.bucket, old.slot + FREE_SLOT, old.stored).where(old.width == DIRTY_WIDTH)
    op.execute(sa.insert(dirty_minutes).from_select(["minute", "slot", "added"], minutes))
    op.execute(sa.delete(lead_counts).where(old.width <= TOTALS_WIDTH))


def downgrade() -> None:
    """Put the rows back where release 0.1 reads them. Stop the workers before."""
    # Release 0.1 knows no erased rows: for it they were never stored.
    erased = sa.table("lead_totals", sa.column("total_stored"), sa.column("erased"))
    less = erased.c.total_stored - erased.c.erased
    op.execute(sa.update(erased).ordered_values((erased.c.total_stored, less), (erased.c.erased, 0)))
    old, new = lead_counts.c, dirty_minutes.c
    # As 0005 does it, which must run beside the code of release 0.1 and so can share no module with this one.
    # What release 0.1 has stored by now keeps its rows.
    free_slot = sa.select(sa.func.coalesce(sa.func.max(old.slot), -1) + 1).where(old.width <= TOTALS_WIDTH)
    for bucket, name in enumerate(TOTALS):
        number = sa.func.sum(lead_totals.c[name])
        total = sa.select(sa.literal(TOTALS_WIDTH), sa.literal(bucket), free_slot.scalar_subquery(), number)
        op.execute(sa.insert(lead_counts).from_select(COUNTS, total.having(number != 0)))
    minutes = sa.select(sa.literal(DIRTY_WIDTH), new.minute, free_slot.scalar_subquery(), sa.func.sum(new.added))
    op.execute(sa.insert(lead_counts).from_select(COUNTS, minutes.group_by(new.minute)))
    op.execute(sa.delete(dirty_minutes))
    op.execute(sa.delete(lead_totals))
