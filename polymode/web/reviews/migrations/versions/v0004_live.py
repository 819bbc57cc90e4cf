"""Live calibration: answers in service, their texts for a time, outcomes, an audit trail; where an item comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TIME = sa.DateTime(timezone=True)


def _columns(kind: type[sa.types.TypeEngine], *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def upgrade() -> None:
    """Add four tables and a column."""
    op.add_column("review_items", sa.Column("origin", sa.Text, nullable=True))
    op.create_table(
        "live_answers",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.Text, nullable=True),
        *_columns(sa.Text, "deployment", "fingerprint"),
        sa.Column("at", TIME, nullable=False),
        *_columns(sa.Text, "asked_by", "kind", "risk", "group"),
        *_columns(sa.Boolean, "is_repeat", "is_covered", "is_random"),
        sa.Column("item_id", sa.Integer, nullable=True),
        sa.Column("n_shown", sa.Integer, nullable=False),
        *_columns(sa.JSON, "confidences", "measures"),
        sa.PrimaryKeyConstraint("id", name="pk_live_answers"),
        sa.UniqueConstraint("request_id", name="uq_live_answers_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_live_answers_deployment", "live_answers", ["deployment", "id"])
    op.create_index("ix_live_answers_fingerprint", "live_answers", ["fingerprint"])
    for name, columns in (
        ("live_texts", [*_columns(sa.Text, "question"), *_columns(sa.JSON, "answers")]),
        ("live_outcomes", [*_columns(sa.Text, "who"), *_columns(sa.JSON, "verdicts")]),
    ):
        op.create_table(
            name,
            sa.Column("answer_id", sa.Integer, nullable=False),
            sa.Column("at", TIME, nullable=False),
            *columns,
            sa.ForeignKeyConstraint(["answer_id"], ["live_answers.id"], name=f"fk_{name}_answer_id"),
            sa.PrimaryKeyConstraint("answer_id", name=f"pk_{name}"),
        )
    op.create_index("ix_live_texts_at", "live_texts", ["at"])
    op.create_table(
        "live_events",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        *_columns(sa.Text, "who", "what", "request_id"),
        *_columns(sa.JSON, "detail"),
        sa.PrimaryKeyConstraint("id", name="pk_live_events"),
        sqlite_autoincrement=True,
    )
    _append_only("live_events")


def _append_only(table: str) -> None:
    """Let the database itself refuse to change or delete a line, as v0002 does for the queue's trail."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_only_grow() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} only grows'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_only_grow()"
    )
