"""Rows of the tables to records and back (layer L6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from polymode.errors import ConfigError, DataNotFoundError
from polymode.types import AnswerSet, Decision, DecisionKind, ParseStatus, Verdict
from polymode.web.reviews.records import ReviewAnswer, ReviewEvent, ReviewItem, ReviewState
from polymode.web.reviews.tables import answers, events, items

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """``text`` with the characters that databases do not store (NUL, halves of surrogate pairs) replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def state_is(state: ReviewState, now: datetime) -> sa.ColumnElement[bool]:
    """The condition that an item is in a state."""
    is_claimed = sa.and_(items.c.claimed_by.is_not(None), items.c.claimed_until > now)
    if state is ReviewState.CLAIMED:
        return sa.and_(items.c.state == ReviewState.OPEN.value, is_claimed)
    if state is ReviewState.OPEN:
        return sa.and_(
            items.c.state == ReviewState.OPEN.value, sa.or_(items.c.claimed_by.is_(None), items.c.claimed_until <= now)
        )
    return items.c.state == state.value


def review_answers(answer_set: AnswerSet, decision: Decision) -> list[ReviewAnswer]:
    """The answers of a set in slot order, with their places in the decision.

    Raises:
        ConfigError: the decision ranks an answer that the set does not hold.
    """
    folders: dict[int, tuple[int, float | None]] = {}
    for rank, ranked in enumerate(decision.ranked):
        for slot, answer in enumerate(answer_set.answers):
            if slot not in folders and (answer.text, answer.span) == (ranked.text, ranked.span):
                folders[slot] = rank, ranked.confidence
                break
        else:
            raise ConfigError(f"decision ranks {ranked.text!r}, which is no answer of the set: decide on these answers")
    return [
        ReviewAnswer(
            text=storable(answer.text),
            confidence=answer.confidence,
            rank=folders.get(slot, (None, None))[0],
            decided_on=folders.get(slot, (None, None))[1],
            verdict=None,
            same_as=None,
            added_by="",
        )
        for slot, answer in enumerate(answer_set.answers)
    ]


def answer_row(item_id: int, number: int, answer: ReviewAnswer) -> dict[str, Any]:
    """A row of ``review_answers``."""
    verdict = None if answer.verdict is None else answer.verdict.value
    return {**asdict(answer), "item_id": item_id, "number": number, "verdict": verdict}


def read_item(connection: sa.Connection, item_id: int, now: datetime) -> ReviewItem:
    """One item with its answers; raises DataNotFoundError when there is none with this id."""
    matching = read_items(connection, sa.select(items).where(items.c.id == item_id), now)
    if not matching:
        raise DataNotFoundError(f"review item {item_id!r} does not exist: check its id")
    return matching[0]


def read_items(connection: sa.Connection, query: sa.Select[Any], now: datetime) -> tuple[ReviewItem, ...]:
    """The items that a selection of ``review_items`` gives, in its order."""
    rows = connection.execute(query).mappings().all()
    by_item: dict[int, list[ReviewAnswer]] = {row["id"]: [] for row in rows}
    ids = list(by_item)
    for i in range(0, len(ids), 500):  # SQLite takes no more than some thousand parameters
        chosen = sa.select(answers).where(answers.c.item_id.in_(ids[i : i + 500]))
        for row in connection.execute(chosen.order_by(answers.c.item_id, answers.c.number)).mappings():
            by_item[row["item_id"]].append(_answer(row))
    return tuple(_item(row, by_item[row["id"]], now) for row in rows)


def read_events(connection: sa.Connection, item_id: int) -> tuple[ReviewEvent, ...]:
    """The audit trail of an item, from its beginning."""
    query = sa.select(events).where(events.c.item_id == item_id).order_by(events.c.id)
    return tuple(ReviewEvent(**row) for row in connection.execute(query).mappings())


def _answer(row: Any) -> ReviewAnswer:
    fields = {name: row[name] for name in ("text", "confidence", "rank", "decided_on", "same_as", "added_by")}
    return ReviewAnswer(**fields, verdict=None if row["verdict"] is None else Verdict(row["verdict"]))


def _item(row: Any, own: Sequence[ReviewAnswer], now: datetime) -> ReviewItem:
    state = ReviewState(row["state"])
    if state is ReviewState.OPEN and row["claimed_by"] is not None and row["claimed_until"] > now:
        state = ReviewState.CLAIMED
    fields = {name: value for name, value in row.items() if name not in ("turn", "state", "status", "kind")}
    return ReviewItem(
        **fields,
        status=ParseStatus(row["status"]),
        kind=DecisionKind(row["kind"]),
        answers=tuple(own),
        state=state,
    )
