"""Work at the desk: who asked, whom an item is assigned to, and drafts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add two columns and a table."""
    op.add_column("review_items", sa.Column("assigned_to", sa.Text, nullable=True))
    op.add_column("review_items", sa.Column("asked_by", sa.Text, nullable=True))
    op.create_table(
        "review_drafts",
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_items.id"], name="fk_review_drafts_item_id"),
        sa.PrimaryKeyConstraint("item_id", "reviewer", name="pk_review_drafts"),
    )
