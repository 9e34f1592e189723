"""A version of each user's tokens, so that a change ends them."""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

phase = "before"


def upgrade() -> None:
    """Do nothing yet."""


def downgrade() -> None:
    """Do nothing yet."""
