"""The random share with what turned out to be right, in the order in which it was drawn (layer L6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from polymode.web.live.answers import LiveAnswers
from polymode.web.live.outcomes import verdicts_of
from polymode.web.live.tables import live_answers, live_outcomes
from polymode.web.reviews.records import ReviewItem, ReviewState
from polymode.web.reviews.tables import items, read_items

PATIENCE = timedelta(days=30)
"""How long the tests wait for a question that nobody has reviewed."""


@dataclass(frozen=True, slots=True)
class Label:
    """One question of the random share."""

    id: int
    """Of the stored answer."""
    at: datetime
    kind: str
    group: str
    is_covered: bool
    n_shown: int
    confidences: tuple[float, ...]
    verdicts: tuple[bool, ...] | None
    """Whether each distinct answer is right; None while that is not known."""
    labelled_at: datetime | None
    item_id: int | None
    is_dismissed: bool

    @property
    def has_failed(self) -> bool:
        """Whether nothing that was shown is right."""
        return not any((self.verdicts or ())[: self.n_shown])

    def is_late(self, now: datetime) -> bool:
        """Whether the tests pass it over: nobody said in time what is right, or it was dismissed."""
        return self.is_dismissed or (self.labelled_at or now) - self.at > PATIENCE


def labels_of(live: LiveAnswers) -> list[Label]:
    """Of this deployment, in the order of asking; without questions that had been asked before."""
    a, o = live_answers.c, live_outcomes.c
    chosen = (a.deployment == live.deployment, a.is_random.is_(True), a.is_repeat.is_(False))
    outcome = (o.verdicts, o.at.label("outcome_at"))
    query = sa.select(live_answers, *outcome).outerjoin(live_outcomes, o.answer_id == a.id).where(*chosen)
    with live.store.reading() as connection:
        rows = connection.execute(query.order_by(a.id)).all()
        to_review = query.with_only_columns(a.item_id).where(o.at.is_(None))
        in_queue = sa.select(items).where(items.c.id.in_(to_review))
        by_id = {item.id: item for item in read_items(connection, in_queue, live.clock())}
    return [_label(row, by_id.get(row.item_id)) for row in rows]


def _label(row: Any, item: ReviewItem | None) -> Label:
    verdicts, at = row.verdicts, row.outcome_at
    if item is not None and (reviewed := verdicts_of(item)) is not None:
        verdicts, at = reviewed, item.finished_at
    return Label(
        row.id,
        row.at,
        row.kind,
        row.group,
        row.is_covered,
        row.n_shown,
        tuple(row.confidences),
        None if verdicts is None else tuple(verdicts),
        at,
        row.item_id,
        item is not None and item.state is ReviewState.DISMISSED,
    )
