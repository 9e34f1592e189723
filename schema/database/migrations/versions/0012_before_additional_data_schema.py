"""The JSON Schema of a source for additionalData."""

import sqlalchemy as sa

from schema.database.migrations import steps

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

phase = "before"


def upgrade() -> None:
    """Add the column, which is NULL for all sources there are."""
    steps.add_column("sources", sa.Column("additional_data_schema", sa.Text))


def downgrade() -> None:
    """Drop it: sources may send any additionalData again."""
    steps.drop_column("sources", "additional_data_schema")
