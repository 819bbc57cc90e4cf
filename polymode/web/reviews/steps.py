"""Steps of a reviewer's transaction: the caller commits all of them or none (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from polymode.errors import ConfigError, ReviewConflictError
from polymode.policy.rationales import QuestionWords
from polymode.types import AnswerSet, Decision, Verdict
from polymode.web.reviews.records import ReviewAnswer, ReviewItem, ReviewState, classes, with_verdicts
from polymode.web.reviews.tables import answers, events, items, read_item, storable

MAX_NAME = 200
"""Characters of a reviewer's name."""
MAX_TEXT = 10_000
"""Characters of an answer or a note that a reviewer writes."""
SYSTEM = "system"
"""Who adds items, in the audit trail; no reviewer may have this name."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What one person does to one item at one time."""

    connection: sa.Connection
    item_id: int
    who: str
    now: datetime

    def item(self) -> ReviewItem:
        """The item as it is now; raises DataNotFoundError."""
        return read_item(self.connection, self.item_id, self.now)

    def update(self, *conditions: sa.ColumnElement[bool], **values: object) -> bool:
        """Change columns of the item if it meets the conditions; whether it does. Takes the row's lock."""
        change = sa.update(items).where(items.c.id == self.item_id, *conditions).values(values)
        return self.connection.execute(change.returning(items.c.id)).scalar() is not None

    def extend_claim(self, lease: timedelta) -> None:
        """Check that the reviewer has claimed the item, and extend the claim.

        Raises:
            DataNotFoundError: no such item.
            ReviewConflictError: not claimed by this reviewer, or finished.
        """
        own = items.c.claimed_by == self.who
        if not self.update(items.c.state == ReviewState.OPEN, own, claimed_until=self.now + lease):
            raise conflict(self.item())

    def mark(self, verdicts: Mapping[int, Verdict], same_as: Mapping[int, int | None]) -> None:
        """Write the verdicts to the answers as `with_verdicts` does; raises ConfigError."""
        item = self.item()
        after = with_verdicts(item.answers, item.equality, verdicts, same_as)
        for number, (old, new) in enumerate(zip(item.answers, after, strict=True)):
            if old != new:
                at = sa.and_(answers.c.item_id == self.item_id, answers.c.number == number)
                self.connection.execute(sa.update(answers).where(at).values(asdict(new)))
        detail: dict[str, Any] = {"verdicts": {str(number): verdict.value for number, verdict in verdicts.items()}}
        if same_as:
            detail["same_as"] = {str(number): other for number, other in same_as.items()}
        self.record("marked", detail)

    def add_answer(self, text: str) -> None:
        """Add a correct answer; raises ConfigError when it is empty or exists already."""
        text = checked_text("answer", text)
        if not text:
            raise ConfigError("answer is empty: write the correct answer")
        item = self.item()
        new = ReviewAnswer(text, None, None, None, Verdict.CORRECT, None, self.who)
        [*others, label] = classes((*item.answers, new), item.equality)
        if label < len(others):
            raise ConfigError(f"answer {text!r} is there already as {item.answers[label].text!r}: mark that one")
        self.insert_answers([new], first_number=len(others))
        self.record("answer_added", {"number": len(others), "text": text})

    def insert_answers(self, new: list[ReviewAnswer], *, first_number: int = 0) -> None:
        """Add answers with numbers from ``first_number``."""
        if new:
            rows = [
                {"item_id": self.item_id, "number": number, **asdict(answer)}
                for number, answer in enumerate(new, first_number)
            ]
            self.connection.execute(sa.insert(answers), rows)

    def finish(self, state: ReviewState, note: str) -> ReviewItem:
        """Finish the item."""
        note = checked_text("note", note)
        self.update(
            state=state, finished_by=self.who, finished_at=self.now, note=note, claimed_by=None, claimed_until=None
        )
        self.record(state.value, {"note": note})
        return self.item()

    def record(self, what: str, detail: Mapping[str, Any]) -> None:
        """Add a line to the audit trail."""
        row = {"item_id": self.item_id, "at": self.now, "who": self.who, "what": what, "detail": dict(detail)}
        self.connection.execute(sa.insert(events).values(row))


def new_answers(question: str, answer_set: AnswerSet, decision: Decision) -> list[ReviewAnswer]:
    """The answers of a set in slot order, with their places in the decision, and rationales as the question holds them.

    Raises:
        ConfigError: the decision ranks an answer that the set does not hold.
    """
    places: dict[int, tuple[int, float | None]] = {}
    for rank, ranked in enumerate(decision.ranked):
        for slot, answer in enumerate(answer_set.answers):
            if slot not in places and (answer.text, answer.span) == (ranked.text, ranked.span):
                places[slot] = rank, ranked.confidence
                break
        else:
            raise ConfigError(f"decision ranks {ranked.text!r}, which is no answer of the set: decide on these answers")
    words = QuestionWords(question)
    quotes = [one.rationale and words.shared(one.rationale) for one in answer_set.answers]
    return [
        ReviewAnswer(
            storable(answer.text),
            answer.confidence,
            *places.get(slot, (None, None)),
            verdict=None,
            same_as=None,
            added_by="",
            rationale=storable(quotes[slot] or "") or None,
        )
        for slot, answer in enumerate(answer_set.answers)
    ]


def conflict(item: ReviewItem, *, is_own: bool = False) -> ReviewConflictError:
    """Why a reviewer cannot claim or change an item; ``is_own``: they have reviewed what it is a second review of."""
    if item.state in (ReviewState.RESOLVED, ReviewState.DISMISSED):
        return ReviewConflictError(f"review item {item.id} is {item.state.value}: reopen it first")
    if item.state is ReviewState.CLAIMED:
        return ReviewConflictError(f"review item {item.id} is claimed by {item.claimed_by!r}: take another")
    if is_own:
        return ReviewConflictError(f"you have reviewed the question of item {item.id} already: leave it to another")
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
