"""Second reviews: which item an item is another review of, and who judged what."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two columns and a table."""
    op.add_column("review_items", sa.Column("review_of", sa.Integer, nullable=True))
    op.add_column("review_items", sa.Column("review_round", sa.Integer, nullable=True))
    op.create_index("ix_review_items_review_of", "review_items", ["review_of"])
    op.create_table(
        "review_rounds",
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("verdicts", sa.JSON, nullable=False),
        sa.Column("added", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_items.id"], name="fk_review_rounds_item_id"),
        sa.PrimaryKeyConstraint("item_id", "round", name="pk_review_rounds"),
    )
