"""What turned out to be right, posted later: accepted once, else refused and kept in the audit trail (layer L6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from polymode.errors import ConfigError, DataNotFoundError
from polymode.policy.deciding import equality
from polymode.types import Verdict
from polymode.web.keys import Caller
from polymode.web.live.answers import LiveAnswers, add_event
from polymode.web.live.tables import live_answers, live_outcomes, live_texts
from polymode.web.problems import Problem
from polymode.web.reviews.records import ReviewItem, ReviewState
from polymode.web.reviews.steps import Steps
from polymode.web.reviews.tables import read_item, storable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said about an answer: one of the two."""

    correct: tuple[str, ...] | None = None
    """Texts of everything that is right; an answer is right where it equals one of them."""
    verdicts: tuple[bool, ...] | None = None
    """Whether each candidate is right, in the order of the reply."""


def post_outcome(
    live: LiveAnswers, request_id: str, outcome: Outcome, caller: Caller, *, equality_name: str
) -> tuple[bool, ...]:
    """Store an outcome, and resolve the question's item in the review queue if that is open; the verdicts.

    Args:
        live: the store.
        request_id: of the answer.
        outcome: what turned out.
        caller: who says so; only who asked the question, or may review, can.
        equality_name: of answers, as the policy calls it.

    Raises:
        Problem: no such answer (404), an outcome or a review is there already (409), or it does not fit (422). The
            refusal is in the audit trail.
        ReviewStoreError.
    """
    now = live.clock()
    with live.store.writing() as connection:
        row = connection.execute(
            sa.select(live_answers).where(live_answers.c.request_id == storable(request_id)).with_for_update()
        ).first()
        result = _checked(connection, row, outcome, caller, equality_name, now)
        if isinstance(result, Problem):
            detail = {"reason": result.title, "status": result.status, **_without_words(outcome)}
            add_event(connection, now, caller.name, "outcome_refused", request_id, detail)
        else:
            assert row is not None
            own = {"answer_id": row.id, "at": now, "who": caller.name, "verdicts": list(result)}
            connection.execute(sa.insert(live_outcomes).values(own))
            add_event(connection, now, caller.name, "outcome_accepted", request_id, {"verdicts": list(result)})
            if row.item_id is not None:
                _resolve(connection, row.item_id, result, outcome, caller, now)
    if isinstance(result, Problem):
        raise result
    return result


def _without_words(outcome: Outcome) -> dict[str, Any]:
    """What an outcome says, without anybody's words."""
    if outcome.verdicts is not None:
        return {"verdicts": list(outcome.verdicts)}
    return {"n_correct": len(outcome.correct or ())}


def _checked(
    connection: sa.Connection, row: Any, outcome: Outcome, caller: Caller, equality_name: str, now: datetime
) -> tuple[bool, ...] | Problem:
    """The verdicts, or why they are refused."""
    if row is None or not (row.asked_by == caller.name or "review" in caller.scopes):
        fix = "send the request_id of a reply to a question that this key asked, while answers are stored"
        return Problem(404, "no answer with this request_id", field="request_id", allowed="of a stored answer", fix=fix)
    verdicts = _verdicts(connection, row, outcome, equality_name)
    if isinstance(verdicts, Problem):
        return verdicts
    own = sa.select(live_outcomes.c.verdicts).where(live_outcomes.c.answer_id == row.id)
    earlier, source = connection.execute(own).scalar(), "an outcome"
    if earlier is None and row.item_id is not None:
        earlier, source = verdicts_of(_item(connection, row.item_id, now)), "a review"
    if earlier is None:
        return verdicts
    fix = "send an outcome once; a wrong one is put right in the review queue"
    if [*earlier] == [*verdicts]:
        return Problem(409, f"the answer has {source} already, which says the same", fix=fix)
    return Problem(409, f"the answer has {source} already, which contradicts this one", fix=fix)


def _verdicts(connection: sa.Connection, row: Any, outcome: Outcome, equality_name: str) -> tuple[bool, ...] | Problem:
    n = len(row.confidences)
    if outcome.verdicts is not None:
        if len(outcome.verdicts) != n:
            allowed, fix = f"{n} of true and false", "give one for each candidate, in the order of the reply"
            title = "the verdicts do not fit the answer"
            return Problem(422, title, field="verdicts", value=len(outcome.verdicts), allowed=allowed, fix=fix)
        return outcome.verdicts
    texts = connection.execute(sa.select(live_texts.c.answers).where(live_texts.c.answer_id == row.id)).scalar()
    if texts is None:
        fix = "send verdicts instead, one for each candidate"
        return Problem(409, "the answer's texts are deleted, so nothing can be compared with them", fix=fix)
    same = equality(equality_name)
    return tuple(any(same(text, right) for right in outcome.correct or ()) for text in texts)


def _item(connection: sa.Connection, item_id: int, now: datetime) -> ReviewItem | None:
    try:
        return read_item(connection, item_id, now)
    except DataNotFoundError:
        return None


def verdicts_of(item: ReviewItem | None) -> list[bool] | None:
    """Whether each distinct answer is right, the most confident first; what nobody can decide is not right.

    None where there is no finished review.
    """
    if item is None or item.state is not ReviewState.RESOLVED:
        return None
    ranked = sorted((answer.rank, answer.verdict) for answer in item.answers if answer.rank is not None)  # type: ignore[type-var]
    return [verdict is Verdict.CORRECT for _, verdict in ranked]


def _resolve(
    connection: sa.Connection,
    item_id: int,
    verdicts: Sequence[bool],
    outcome: Outcome,
    caller: Caller,
    now: datetime,
) -> None:
    """Finish the question's item with the outcome, whoever has claimed it, so that nobody reviews what is known."""
    item = _item(connection, item_id, now)
    if item is None or item.state not in (ReviewState.OPEN, ReviewState.CLAIMED):
        return
    steps = Steps(connection, item_id, f"outcome ({caller.name})" if caller.name else "outcome", now)
    by_number = {number: answer.rank for number, answer in enumerate(item.answers) if answer.rank is not None}
    if not by_number and item.answers:
        return  # a completion that cannot be used: its texts have no verdict
    words = {True: Verdict.CORRECT, False: Verdict.WRONG}
    try:
        steps.mark({number: words[verdicts[rank]] for number, rank in by_number.items()}, {})
    except ConfigError:  # a reviewer has said that two of the answers are the same: they see that, and finish it
        return
    same = equality(item.equality)
    for text in dict.fromkeys(storable(text).strip() for text in outcome.correct or ()):
        if text and not any(same(text, answer.text) for answer in steps.item().answers):
            steps.add_answer(text)
    if all(answer.verdict is not None for answer in steps.item().answers):
        steps.finish(ReviewState.RESOLVED, "")
