"""Records of the review queue: frozen, without behaviour (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from polymode.types import DecisionKind, ParseStatus, Verdict


class ReviewState(Enum):
    """Where an item stands."""

    OPEN = "open"
    """Waits for a reviewer; also after a claim has expired."""
    CLAIMED = "claimed"
    """A reviewer is working on it."""
    RESOLVED = "resolved"
    """Every answer has a verdict."""
    DISMISSED = "dismissed"
    """Nothing can be learned from it; it is not exported."""


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """One answer of an item, as shown and as judged."""

    text: str
    confidence: float | None
    """As stated; None when there is none, and for an answer that a reviewer added."""
    rank: int | None
    """Place among the distinct answers, 0 for the most confident; None for a repeat, an added answer, and all answers
    of a completion that cannot be used."""
    decided_on: float | None
    """The (recalibrated) confidence that was decided on; None where there is no rank."""
    verdict: Verdict | None
    """The reviewer's verdict; UNSCORED means that it cannot be decided. None until there is one."""
    same_as: int | None
    """Number of another answer that says the same in other words."""
    added_by: str
    """The reviewer who added it; empty for an answer of the model."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One question for a person, with everything that was shown and decided."""

    id: int
    request_id: str | None
    """What the caller named it."""
    question: str
    completion: str
    """The model's whole text."""
    k: int
    """Answers asked for."""
    status: ParseStatus
    status_reason: str
    """Why the completion is not CLEAN."""
    answers: tuple[ReviewAnswer, ...]
    """In slot order, then those that reviewers added; an answer's number is its place here, from 0."""
    kind: DecisionKind
    reason: str
    """Of the decision, one sentence."""
    risk: str
    model_id: str
    policy_id: str
    equality: str
    """Which answers are one and the same, as in `Policy`."""
    created_at: datetime
    state: ReviewState
    claimed_by: str | None
    claimed_until: datetime | None
    """After that another reviewer may claim it."""
    finished_by: str | None
    """Who resolved or dismissed it."""
    finished_at: datetime | None
    note: str
    """What the reviewer wrote at the end."""


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """One line of the audit trail, which only grows."""

    id: int
    item_id: int
    at: datetime
    who: str
    """A reviewer, or ``system`` for what the queue was given."""
    what: str
    """added, claimed, renewed, released, marked, answer_added, resolved, dismissed or reopened."""
    detail: Mapping[str, object]
    """What was said, JSON types."""


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """Items by state, and how long the first in line has waited."""

    open: int
    claimed: int
    resolved: int
    dismissed: int
    oldest_open: datetime | None
    """When the oldest open item was added; None when there is none."""
