"""The outbox of notices about new escalations."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "review_notices",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_items.id"], name="fk_review_notices_item_id"),
        sa.PrimaryKeyConstraint("id", name="pk_review_notices"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_review_notices_next_at", "review_notices", ["next_at"])
