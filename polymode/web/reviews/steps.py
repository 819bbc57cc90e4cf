"""Steps of a reviewer's transaction: the caller commits all of them or none (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from polymode.errors import ConfigError, ReviewConflictError
from polymode.types import Verdict
from polymode.web.reviews.records import ReviewAnswer, ReviewItem, ReviewState
from polymode.web.reviews.rows import answer_row, read_item, storable
from polymode.web.reviews.tables import answers, events, items
from polymode.web.reviews.verdicts import classes, with_verdicts

MAX_NAME = 200
"""Characters of a reviewer's name."""
MAX_TEXT = 10_000
"""Characters of an answer or a note that a reviewer writes."""
SYSTEM = "system"
"""Who adds items, in the audit trail; no reviewer may have this name."""


def check_claim(connection: sa.Connection, item_id: int, reviewer: str, now: datetime, lease: timedelta) -> None:
    """Check that the reviewer has claimed the item, and extend the claim; takes the row's lock first.

    Raises:
        DataNotFoundError: no such item.
        ReviewConflictError: not claimed by this reviewer, or finished.
    """
    is_open = items.c.state == ReviewState.OPEN.value
    own = sa.and_(items.c.id == item_id, is_open, items.c.claimed_by == checked_name(reviewer))
    extended = sa.update(items).where(own).values(claimed_until=now + lease).returning(items.c.id)
    if connection.execute(extended).scalar() is None:
        raise conflict(read_item(connection, item_id, now))


def mark(
    connection: sa.Connection,
    item_id: int,
    reviewer: str,
    now: datetime,
    verdicts: Mapping[int, Verdict],
    same_as: Mapping[int, int | None],
) -> None:
    """Write the verdicts to the answers as `with_verdicts` does; raises ConfigError."""
    item = read_item(connection, item_id, now)
    after = with_verdicts(item.answers, item.equality, verdicts, same_as)
    for number, (old, new) in enumerate(zip(item.answers, after, strict=True)):
        if old != new:
            at = sa.and_(answers.c.item_id == item_id, answers.c.number == number)
            connection.execute(sa.update(answers).where(at).values(answer_row(item_id, number, new)))
    detail: dict[str, Any] = {"verdicts": {str(number): verdict.value for number, verdict in verdicts.items()}}
    if same_as:
        detail["same_as"] = {str(number): other for number, other in same_as.items()}
    record(connection, item_id, reviewer, now, "marked", detail)


def add_answer(connection: sa.Connection, item_id: int, reviewer: str, now: datetime, text: str) -> None:
    """Add a correct answer; raises ConfigError when it is empty or exists already."""
    text = checked_text("answer", text)
    if not text:
        raise ConfigError("answer is empty: write the correct answer")
    item = read_item(connection, item_id, now)
    new = ReviewAnswer(text, None, None, None, Verdict.CORRECT, None, checked_name(reviewer))
    [*others, label] = classes((*item.answers, new), item.equality)
    if label < len(others):
        raise ConfigError(f"answer {text!r} is there already as {item.answers[label].text!r}: mark that one")
    connection.execute(sa.insert(answers).values(answer_row(item_id, len(others), new)))
    record(connection, item_id, reviewer, now, "answer_added", {"number": len(others), "text": text})


def finish(
    connection: sa.Connection, item_id: int, reviewer: str, now: datetime, state: ReviewState, note: str
) -> ReviewItem:
    """Finish the item."""
    values = {
        "state": state.value,
        "finished_by": checked_name(reviewer),
        "finished_at": now,
        "note": checked_text("note", note),
        "claimed_by": None,
        "claimed_until": None,
    }
    connection.execute(sa.update(items).where(items.c.id == item_id).values(values))
    record(connection, item_id, reviewer, now, state.value, {"note": values["note"]})
    return read_item(connection, item_id, now)


def record(
    connection: sa.Connection, item_id: int, who: str, now: datetime, what: str, detail: Mapping[str, Any]
) -> None:
    """Add a line to the audit trail."""
    row = {"item_id": item_id, "at": now, "who": who.strip(), "what": what, "detail": dict(detail)}
    connection.execute(sa.insert(events).values(row))


def existing_id(connection: sa.Connection, row: Mapping[str, Any]) -> int:
    """Id of the item with the row's request_id; raises ReviewConflictError when its question is another one."""
    existing = connection.execute(
        sa.select(items.c.id, items.c.question).where(items.c.request_id == row["request_id"])
    ).one()
    if existing.question != row["question"]:
        raise ReviewConflictError(
            f"request_id = {row['request_id']!r} names another question already: give every request its own"
        )
    return existing.id


def conflict(item: ReviewItem) -> ReviewConflictError:
    """Why a reviewer cannot claim or change an item."""
    if item.state in (ReviewState.RESOLVED, ReviewState.DISMISSED):
        return ReviewConflictError(f"review item {item.id} is {item.state.value}: reopen it first")
    if item.state is ReviewState.CLAIMED:
        return ReviewConflictError(f"review item {item.id} is claimed by {item.claimed_by!r}: take another")
    return ReviewConflictError(f"review item {item.id} is not claimed by you: claim it first")


def checked_name(value: str) -> str:
    """A reviewer's name without white space around it; raises ConfigError."""
    name = storable(value).strip()
    if not name or len(name) > MAX_NAME or not name.isprintable() or name == SYSTEM:
        raise ConfigError(
            f"reviewer = {value[:80]!r} is not allowed: give a name of at most {MAX_NAME} characters, not {SYSTEM!r}"
        )
    return name


def checked_text(field: str, value: str) -> str:
    """A text that a reviewer wrote; raises ConfigError when it is too long."""
    if len(value) > MAX_TEXT:
        raise ConfigError(f"{field} has {len(value):,} characters: write at most {MAX_TEXT:,}")
    return storable(value).strip()
