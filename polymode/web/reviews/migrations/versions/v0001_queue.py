"""The queue: items, their answers, and what happened to them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "review_items",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.Text, nullable=True),
        *_texts("question", "completion"),
        sa.Column("k", sa.Integer, nullable=False),
        *_texts("status", "status_reason", "kind", "reason", "risk", "model_id", "policy_id", "equality"),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("claimed_by", sa.Text, nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("finished_by", sa.Text, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_review_items"),
        sa.UniqueConstraint("request_id", name="uq_review_items_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_review_items_line", "review_items", ["state", "turn", "id"])
    op.create_table(
        "review_answers",
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=True),
        sa.Column("rank", sa.Integer, nullable=True),
        sa.Column("decided_on", sa.Float, nullable=True),
        sa.Column("verdict", sa.Text, nullable=True),
        sa.Column("same_as", sa.Integer, nullable=True),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_items.id"], name="fk_review_answers_item_id"),
        sa.PrimaryKeyConstraint("item_id", "number", name="pk_review_answers"),
    )
    op.create_table(
        "review_events",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_items.id"], name="fk_review_events_item_id"),
        sa.PrimaryKeyConstraint("id", name="pk_review_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_review_events_item_id", "review_events", ["item_id"])
