"""The audit trail: who did what."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

phase = "before"


def upgrade() -> None:
    """Do nothing yet."""


def downgrade() -> None:
    """Do nothing yet."""
