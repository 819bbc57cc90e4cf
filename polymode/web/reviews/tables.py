"""Tables of the review queue, as the latest migration leaves them (layer L6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class UtcTime(sa.TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, so it is taken off on the way in and put on again on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC, without a zone in SQLite."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """With the zone UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

items = sa.Table(
    "review_items",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request_id", sa.Text, nullable=True, unique=True),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("completion", sa.Text, nullable=False),
    sa.Column("k", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("policy_id", sa.Text, nullable=False),
    sa.Column("equality", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    # Place in line before the id: 0 for high risk, 1 for the rest.
    sa.Column("turn", sa.Integer, nullable=False),
    # open, resolved or dismissed; that an open item is claimed is said by the two columns below and the clock.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("claimed_by", sa.Text, nullable=True),
    sa.Column("claimed_until", UtcTime, nullable=True),
    sa.Column("finished_by", sa.Text, nullable=True),
    sa.Column("finished_at", UtcTime, nullable=True),
    sa.Column("note", sa.Text, nullable=False),
    sa.Index("ix_review_items_line", "state", "turn", "id"),
    sqlite_autoincrement=True,
)

answers = sa.Table(
    "review_answers",
    metadata,
    sa.Column("item_id", sa.ForeignKey("review_items.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("confidence", sa.Float, nullable=True),
    sa.Column("rank", sa.Integer, nullable=True),
    sa.Column("decided_on", sa.Float, nullable=True),
    sa.Column("verdict", sa.Text, nullable=True),
    sa.Column("same_as", sa.Integer, nullable=True),
    sa.Column("added_by", sa.Text, nullable=False),
)

events = sa.Table(
    "review_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("item_id", sa.ForeignKey("review_items.id"), nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
