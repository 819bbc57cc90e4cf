"""Tables of the review queue, as the latest migration leaves them, and reading records from them (layer L6).

A column is a field of `ReviewItem` or `ReviewAnswer`, so that a row needs no translation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, get_args, get_type_hints

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from polymode.errors import DataNotFoundError
from polymode.web.reviews.records import ReviewAnswer, ReviewEvent, ReviewItem, ReviewState, Round


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


class EnumText(sa.TypeDecorator[Enum]):
    """A member of an enumeration, stored as the text of its value."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Enum | None, dialect: Dialect) -> str | None:
        """Its value."""
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Enum | None:
        """The member."""
        return None if value is None else self.kind(value)


_TYPES: dict[type, type[sa.types.TypeEngine[Any]]] = {str: sa.Text, int: sa.Integer, float: sa.Float, datetime: UtcTime}


def _columns(record: type, *, without: Collection[str] = ()) -> Iterator[sa.Column[Any]]:
    """A column for each field of a record; it may be null where the field may be None."""
    for name, hint in get_type_hints(record).items():
        if name not in without:
            kind, *null = get_args(hint) or (hint,)
            yield sa.Column(name, EnumText(kind) if issubclass(kind, Enum) else _TYPES[kind](), nullable=bool(null))


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def numbered_table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    """A table whose rows have numbers in the order in which they were added, none of them used twice."""
    number = sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)
    return sa.Table(name, metadata, number, *columns, sqlite_autoincrement=True)


items = numbered_table(
    "review_items",
    # The state is OPEN, RESOLVED or DISMISSED; that an open item is claimed is said by claimed_until and the clock.
    *_columns(ReviewItem, without=("id", "answers", "rounds")),
    # Place in line before the id: 0 for high risk, 1 for the rest.
    sa.Column("turn", sa.Integer, nullable=False),
    sa.UniqueConstraint("request_id"),
    sa.Index("ix_review_items_line", "state", "turn", "id"),
    sa.Index("ix_review_items_review_of", "review_of"),
)

answers = sa.Table(
    "review_answers",
    metadata,
    sa.Column("item_id", sa.ForeignKey("review_items.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    *_columns(ReviewAnswer),
)

events = numbered_table(
    "review_events",
    sa.Column("item_id", sa.ForeignKey("review_items.id"), nullable=False, index=True),
    *_columns(ReviewEvent, without=("id", "item_id", "detail")),
    sa.Column("detail", sa.JSON, nullable=False),
)

drafts = sa.Table(
    "review_drafts",
    metadata,
    sa.Column("item_id", sa.ForeignKey("review_items.id"), primary_key=True, autoincrement=False),
    sa.Column("reviewer", sa.Text, primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("fields", sa.JSON, nullable=False),
)

rounds = sa.Table(
    "review_rounds",
    metadata,
    sa.Column("item_id", sa.ForeignKey("review_items.id"), primary_key=True, autoincrement=False),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    *_columns(Round, without=("item_id", "round", "verdicts", "added")),
    sa.Column("verdicts", sa.JSON, nullable=False),
    sa.Column("added", sa.JSON, nullable=False),
)

notices = numbered_table(
    "review_notices",
    sa.Column("item_id", sa.ForeignKey("review_items.id"), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    # When it is tried, or after its lease tried again.
    sa.Column("next_at", UtcTime, nullable=False, index=True),
    sa.Column("tries", sa.Integer, nullable=False),
)

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """``text`` with the characters that databases do not store (NUL, halves of surrogate pairs) replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def in_parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Numbers, a few hundred at a time: SQLite takes no more than some thousand parameters."""
    return (ids[i : i + 500] for i in range(0, len(ids), 500))


def state_is(state: ReviewState, now: datetime) -> sa.ColumnElement[bool]:
    """The condition that an item is in a state."""
    until, is_unfinished = items.c.claimed_until, items.c.state == ReviewState.OPEN
    if state is ReviewState.CLAIMED:
        return sa.and_(is_unfinished, until > now)
    if state is ReviewState.OPEN:
        return sa.and_(is_unfinished, sa.or_(until.is_(None), until <= now))
    return items.c.state == state


def read_item(connection: sa.Connection, item_id: int, now: datetime) -> ReviewItem:
    """One item with its answers; raises DataNotFoundError when there is none with this id."""
    for item in read_items(connection, sa.select(items).where(items.c.id == item_id), now):
        return item
    raise DataNotFoundError(f"review item {item_id!r} does not exist: check its id")


def read_items(connection: sa.Connection, query: sa.Select[Any], now: datetime) -> tuple[ReviewItem, ...]:
    """The items that a selection of ``review_items`` gives, in its order."""
    rows = [dict(row) for row in connection.execute(query).mappings()]
    by_item: dict[int, list[ReviewAnswer]] = {row["id"]: [] for row in rows}
    for ids in in_parts(list(by_item)):
        own = sa.select(answers).where(answers.c.item_id.in_(ids))
        for row in connection.execute(own.order_by(answers.c.item_id, answers.c.number)).mappings():
            by_item[row["item_id"]].append(
                ReviewAnswer(**{name: row[name] for name in ReviewAnswer.__dataclass_fields__})
            )
    for row in rows:
        del row["turn"]
        if row["state"] is ReviewState.OPEN and row["claimed_until"] is not None and row["claimed_until"] > now:
            row["state"] = ReviewState.CLAIMED
    return tuple(ReviewItem(**row, answers=tuple(by_item[row["id"]])) for row in rows)
