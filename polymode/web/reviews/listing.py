"""Which items a list shows, and in which order (layer L6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from polymode.errors import one_of
from polymode.types import DecisionKind
from polymode.web.reviews.records import ReviewState
from polymode.web.reviews.tables import answers, items, state_is

_HIGHEST = sa.select(sa.func.max(answers.c.decided_on)).where(answers.c.item_id == items.c.id)
_CONFIDENCE = sa.func.coalesce(_HIGHEST.correlate(items).scalar_subquery(), -1.0)
ORDERS: dict[str, tuple[sa.ColumnElement[object], ...]] = {
    "line": (items.c.turn, items.c.id),
    "newest": (items.c.id.desc(),),
    "oldest": (items.c.id,),
    "least-certain": (_CONFIDENCE, items.c.id),
    "most-certain": (_CONFIDENCE.desc(), items.c.id),
}
"""Orders by name: ``line`` is the one in which items are claimed, high risk first, then the oldest."""


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What a list is restricted to; a field that is None or empty restricts nothing."""

    state: ReviewState | None = None
    search: str = ""
    """Text that question, note or completion contain, in capitals or not."""
    risk: str | None = None
    kind: DecisionKind | None = None
    origin: str | None = None
    """Why they are in the queue."""
    claimed_by: str | None = None
    assigned_to: str | None = None
    """A reviewer; empty: nobody."""

    def conditions(self, now: datetime) -> list[sa.ColumnElement[bool]]:
        """As conditions on ``review_items``."""
        chosen: list[sa.ColumnElement[bool]] = []
        if self.state is not None:
            chosen.append(state_is(self.state, now))
        if self.search.strip():
            text = self.search.strip()
            columns = (items.c.question, items.c.note, items.c.completion)
            chosen.append(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
        if self.risk is not None:
            chosen.append(items.c.risk == self.risk)
        if self.kind is not None:
            chosen.append(items.c.kind == self.kind)
        if self.origin is not None:
            chosen.append(items.c.origin == self.origin)
        if self.claimed_by is not None:
            chosen += [state_is(ReviewState.CLAIMED, now), items.c.claimed_by == self.claimed_by]
        if self.assigned_to is not None:
            nobody = items.c.assigned_to.is_(None)
            chosen.append(items.c.assigned_to == self.assigned_to if self.assigned_to else nobody)
        return chosen


def order_of(name: str) -> tuple[sa.ColumnElement[object], ...]:
    """An order by its name; raises ConfigError."""
    one_of("sort", name, tuple(ORDERS))
    return ORDERS[name]
