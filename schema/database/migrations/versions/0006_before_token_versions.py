"""A version of each user's tokens, so that a change ends them."""

import sqlalchemy as sa

from schema.database.migrations import steps

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

phase = "before"


def upgrade() -> None:
    """Add the column. Release 0.1 makes users without it: their tokens have version 0."""
    steps.add_column("users", sa.Column("token_version", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Take the column away."""
    steps.drop_column("users", "token_version")
