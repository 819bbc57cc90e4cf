"""What the model says for each answer."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a column."""
    op.add_column("review_answers", sa.Column("rationale", sa.Text, nullable=True))
