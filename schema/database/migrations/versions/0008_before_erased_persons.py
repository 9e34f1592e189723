"""Persons who were erased: their leads' ids, and the hashes that are kept out."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

phase = "before"


def upgrade() -> None:
    """Do nothing yet."""


def downgrade() -> None:
    """Do nothing yet."""
