"""Second reviews: a random share of the resolved items is judged again; where reviewers disagree, a third decides.

    resolve -> (drawn) copy for another reviewer -> verdicts agree: nothing to do
                                                 -> they differ: copy to adjudicate, whose verdicts are the item's

A copy is an item of its own, so it is claimed, marked and resolved like any other. It holds nothing of the first
review, and nobody gets a copy of what they reviewed. Each finished review of such an item is a `Round` (layer L6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from polymode.types import Verdict
from polymode.web.reviews.records import ADJUDICATION, SECOND, ReviewAnswer, ReviewItem, ReviewState, Round, classes
from polymode.web.reviews.steps import SYSTEM, Steps
from polymode.web.reviews.tables import answers, events, in_parts, items, rounds


def may_review(reviewer: str, *, is_operator: bool = False) -> sa.ColumnElement[bool]:
    """The condition that an item is no copy of what this reviewer has reviewed; an operator may adjudicate any."""
    own = sa.exists().where(
        rounds.c.item_id == items.c.review_of, sa.func.lower(rounds.c.reviewer) == sa.func.lower(reviewer)
    )
    is_free = sa.or_(items.c.review_of.is_(None), ~own)
    return sa.or_(is_free, items.c.review_round == ADJUDICATION) if is_operator else is_free


def follow_up(steps: Steps, item: ReviewItem, *, is_drawn: bool) -> None:
    """What a resolved item leads to, in the transaction that resolves it."""
    if item.review_of is None:
        is_resolved = sa.and_(events.c.item_id == item.id, events.c.what == ReviewState.RESOLVED.value)
        times = steps.connection.execute(sa.select(sa.func.count()).select_from(events).where(is_resolved)).scalar_one()
        if is_drawn and times == 1:  # what is reopened had its chance
            _record_round(steps, item.id, 1, item)
            _copy(steps, item, SECOND, [replace(one, verdict=None, same_as=None) for one in item.own_answers])
        return
    original = Steps(steps.connection, item.review_of, steps.who, steps.now)
    before = original.item()
    _record_round(steps, before.id, item.review_round or SECOND, item)
    if item.review_round == ADJUDICATION:
        _settle(original, before, item.answers)
        original.record("adjudicated", {"verdicts": [one.verdict and one.verdict.value for one in item.own_answers]})
        return
    first, second = rounds_of(steps.connection, [before.id])[before.id][:2]
    original.record("reviewed_again", {"agrees": not first.disputes(second)})
    if first.disputes(second):
        agreed = [
            replace(one, verdict=Verdict(a) if a == b else None, same_as=None)
            for one, a, b in zip(before.own_answers, first.verdicts, second.verdicts, strict=True)
        ]
        _copy(steps, before, ADJUDICATION, [*agreed, *_added(before, item)])
    else:
        _settle(original, before, [*before.answers, *(one for one in item.answers if one.added_by)])


def rounds_of(connection: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[Round, ...]]:
    """The finished reviews of each item that was drawn, in their order."""
    by_item: dict[int, tuple[Round, ...]] = {}
    for part in in_parts(ids):
        own = sa.select(rounds).where(rounds.c.item_id.in_(part)).order_by(rounds.c.item_id, rounds.c.round)
        for row in connection.execute(own).mappings():
            one = Round(**{**row, "verdicts": tuple(row["verdicts"]), "added": tuple(row["added"])})
            by_item[one.item_id] = (*by_item.get(one.item_id, ()), one)
    return by_item


def with_rounds(connection: sa.Connection, finished: Sequence[ReviewItem]) -> tuple[ReviewItem, ...]:
    """Items with their rounds; what two reviewers dispute is UNSCORED until it is adjudicated."""
    of = rounds_of(connection, [item.id for item in finished])
    out = []
    for item in finished:
        own = of.get(item.id, ())
        disputes = own[0].disputes(own[1]) if len(own) == 2 else ()
        judged = [replace(a, verdict=Verdict.UNSCORED) if n in disputes else a for n, a in enumerate(item.answers)]
        out.append(replace(item, rounds=own, answers=tuple(judged)))
    return tuple(out)


def is_hidden(connection: sa.Connection, item: ReviewItem, reviewer: str | None) -> bool:
    """Whether a reviewer must not see the verdicts of an item, because its second review is still to come."""
    if reviewer is not None and item.finished_by == reviewer:
        return False
    waits = (items.c.review_of == item.id, items.c.review_round == SECOND, items.c.state == ReviewState.OPEN)
    return connection.execute(sa.select(items.c.id).where(*waits).limit(1)).first() is not None


def _record_round(steps: Steps, item_id: int, number: int, item: ReviewItem) -> None:
    """Write down who judged what."""
    values = {
        "reviewer": steps.who,
        "at": steps.now,
        "verdicts": [(one.verdict or Verdict.UNSCORED).value for one in item.own_answers],
        "added": [one.text for one in item.answers if one.added_by],
        "note": item.note,
    }
    steps.connection.execute(sa.insert(rounds).values(item_id=item_id, round=number, **values))


def _copy(steps: Steps, item: ReviewItem, number: int, new: list[ReviewAnswer]) -> None:
    """Put an item into the queue once more, without what its reviewer left on it."""
    connection = steps.connection
    row = dict(connection.execute(sa.select(items).where(items.c.id == item.id)).mappings().one())
    del row["id"]
    row |= dict.fromkeys(("request_id", "claimed_by", "claimed_until", "finished_by", "finished_at", "assigned_to"))
    row |= {"state": ReviewState.OPEN, "note": "", "created_at": steps.now}
    row |= {"review_of": item.id, "review_round": number, "origin": None}  # not drawn, nor escalated, once more
    copy_id = connection.execute(sa.insert(items).values(row).returning(items.c.id)).scalar_one()
    copy = Steps(connection, copy_id, SYSTEM, steps.now)
    copy.insert_answers(new)
    detail = {"kind": item.kind.value, "risk": item.risk}
    copy.record("added", detail | ({"adjudicates": item.id} if number == ADJUDICATION else {}))


def _added(first: ReviewItem, second: ReviewItem) -> list[ReviewAnswer]:
    """What either reviewer added, each once, without a verdict."""
    new: list[ReviewAnswer] = []
    for one in (*first.answers, *second.answers):
        if one.added_by:
            [*others, label] = classes((*first.own_answers, *new, one), first.equality)
            if label == len(others):
                new.append(replace(one, verdict=None, same_as=None))
    return new


def _settle(original: Steps, before: ReviewItem, judged: Sequence[ReviewAnswer]) -> None:
    """Write verdicts to the item, and add the answers that it lacks."""
    texts = [one.text for one in before.answers]
    numbers: list[int] = []  # in the item, of each judged answer; the model's come first in both
    for number, one in enumerate(judged):
        if number >= len(before.own_answers) and one.text not in texts:
            texts.append(one.text)
        numbers.append(number if number < len(before.own_answers) else texts.index(one.text))
    for one, number in zip(judged, numbers, strict=True):
        new = replace(one, same_as=None if one.same_as is None else numbers[one.same_as])
        if number < len(before.answers):
            at = sa.and_(answers.c.item_id == before.id, answers.c.number == number)
            changed = {"verdict": new.verdict, "same_as": new.same_as}
            original.connection.execute(sa.update(answers).where(at).values(changed))
        else:
            original.insert_answers([new], first_number=number)


def reviewed_by(connection: sa.Connection, item: ReviewItem) -> set[str]:
    """Who has reviewed what a copy is of, in lower case."""
    if item.review_of is None:
        return set()
    return {one.reviewer.lower() for one in rounds_of(connection, [item.review_of]).get(item.review_of, ())}
