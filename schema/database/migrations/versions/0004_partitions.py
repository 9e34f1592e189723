"""The leads partitioned by month, on MySQL and MariaDB. The table is copied: leads wait in the queue meanwhile."""

import time

from alembic import op

from schema.database import partitions

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Partition the table from the month of its oldest lead on."""
    partitions.partition(op.get_bind(), time.time_ns() // 1000)


def downgrade() -> None:
    """Make one table of the partitions."""
    if partitions.existing(op.get_bind()):
        op.execute("ALTER TABLE leads REMOVE PARTITIONING")
