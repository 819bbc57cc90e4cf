"""Records of the review queue, which answers are the same, and what verdicts mean for all of them (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from polymode.errors import ConfigError
from polymode.policy.deciding import equality
from polymode.types import DecisionKind, ParseStatus, Verdict

RANDOM, ESCALATED = "random", "escalated"
"""Origin of an item: drawn for the random share of all questions (`polymode.web.live`), or there because of what was
decided."""
SECOND, ADJUDICATION = 2, 3
"""Rounds of an item that is reviewed again (`polymode.web.reviews.second_reviews`)."""


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
    rationale: str | None = None
    """What the model says for it, in words of the question; None where it says nothing that the question holds."""


@dataclass(frozen=True, slots=True)
class Round:
    """One finished review of an item that was drawn for a second one."""

    item_id: int
    round: int
    """1 for the first review, 2 for the second, 3 for the adjudication."""
    reviewer: str
    at: datetime
    verdicts: tuple[str, ...]
    """Of the model's answers, in slot order."""
    added: tuple[str, ...]
    """Right answers that the reviewer added."""
    note: str

    def disputes(self, other: Round) -> tuple[int, ...]:
        """Numbers of the answers on which two reviewers disagree."""
        pairs = zip(self.verdicts, other.verdicts, strict=True)
        return tuple(number for number, (own, others) in enumerate(pairs) if own != others)


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
    assigned_to: str | None = None
    """Reviewer who is to take it; others get it only when they claim this very item."""
    asked_by: str | None = None
    """Name of the API key with which it was asked."""
    origin: str | None = None
    """RANDOM or ESCALATED; None for one that somebody put here by `ReviewQueue.add`."""
    review_of: int | None = None
    """The item that this is another review of; None for the first."""
    review_round: int | None = None
    """Which review this is: SECOND or ADJUDICATION; None for the first."""
    rounds: tuple[Round, ...] = ()
    """The reviews of an item that was drawn for a second one, as `ReviewQueue.resolved` gives it."""

    @property
    def own_answers(self) -> tuple[ReviewAnswer, ...]:
        """Those of the model, which come first."""
        return tuple(answer for answer in self.answers if not answer.added_by)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reviewer has typed and not saved yet, as the fields of the form."""

    at: datetime
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """One line of the audit trail, which only grows."""

    id: int
    item_id: int
    at: datetime
    who: str
    """A reviewer, or ``system`` for what the queue was given."""
    what: str
    """added, assigned, claimed, renewed, released, marked, answer_added, resolved, dismissed, reopened, reviewed_again,
    adjudicated or told."""
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


def classes(answers: Sequence[ReviewAnswer], equality_name: str) -> tuple[int, ...]:
    """Per answer, the lowest number of those that are the same: equal texts, or named so by ``same_as``."""
    same = equality(equality_name)
    label = list(range(len(answers)))

    def join(a: int, b: int) -> None:
        low, high = sorted((label[a], label[b]))
        label[:] = [low if x == high else x for x in label]

    for number, answer in enumerate(answers):
        for other in range(number):
            if same(answer.text, answers[other].text):
                join(other, number)
        if answer.same_as is not None:
            join(answer.same_as, number)
    return tuple(label)


def repeats(answers: Sequence[ReviewAnswer], equality_name: str) -> tuple[int | None, ...]:
    """Per answer, the number of the earliest with an equal text; None when it is the first of its kind."""
    same = equality(equality_name)
    return tuple(
        next((other for other in range(number) if same(answer.text, answers[other].text)), None)
        for number, answer in enumerate(answers)
    )


def with_verdicts(
    answers: Sequence[ReviewAnswer],
    equality_name: str,
    verdicts: Mapping[int, Verdict],
    same_as: Mapping[int, int | None],
) -> tuple[ReviewAnswer, ...]:
    """The answers with a reviewer's verdicts; answers that are the same share one verdict.

    Args:
        answers: of the item.
        equality_name: of the item.
        verdicts: by number of the answer.
        same_as: by number, another answer that says the same; None takes that back.

    Raises:
        ConfigError: a number without an answer, or two verdicts for the same answer.
    """
    allowed = f"the item has answers 0 to {len(answers) - 1}" if answers else "the item has no answer"
    for number in [*verdicts, *same_as, *(other for other in same_as.values() if other is not None)]:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(answers):
            raise ConfigError(f"answer {number!r} does not exist: {allowed}")
    for number, other in same_as.items():
        if number == other:
            raise ConfigError(f"same_as: answer {number} cannot be the same as itself; name another")
    with_links = [replace(answer, same_as=same_as.get(n, answer.same_as)) for n, answer in enumerate(answers)]
    labels = classes(with_links, equality_name)
    by_label: dict[int, tuple[int, Verdict]] = {}
    for number, verdict in verdicts.items():
        if not isinstance(verdict, Verdict):
            values = ", ".join(str(value) for value in Verdict)
            raise ConfigError(f"verdict {verdict!r} of answer {number} is not allowed: use {values}")
        first, earlier = by_label.setdefault(labels[number], (number, verdict))
        if earlier is not verdict:
            raise _contradiction(answers, first, number)
    judged = [
        replace(answer, verdict=by_label[label][1]) if label in by_label else answer
        for answer, label in zip(with_links, labels, strict=True)
    ]
    for number, label in enumerate(labels):
        if judged[number].verdict is not judged[label].verdict:
            raise _contradiction(answers, label, number)
    return tuple(judged)


def _contradiction(answers: Sequence[ReviewAnswer], a: int, b: int) -> ConfigError:
    return ConfigError(f"answers {answers[a].text!r} and {answers[b].text!r} are the same and must have one verdict")
