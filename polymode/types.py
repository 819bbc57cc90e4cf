"""The records that pass between stages, one line of meaning under each field (layer L0).

Axis suffixes used across the package: ``_P`` question, ``_G`` completion of one question, ``_K`` answer of one set,
``_T`` token, ``_N`` flat items, ``_B`` calibration bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

Target = Literal["verdict", "distribution"]
"""What confidences are scored against: whether the answer is a hit, or its mass in the reference distribution."""


class ParseStatus(Enum):
    """How the text of a completion was read."""

    CLEAN = "clean"
    """Exactly the asked format."""
    PARTIAL = "partial"
    """Not the format, but a usable prefix of slots was salvaged (evaluation only, never in training)."""
    MALFORMED = "malformed"
    """Not the format and nothing usable; the reason is kept."""
    TRUNCATED = "truncated"
    """Not the format because generation was cut off at its length limit."""


class Verdict(Enum):
    """Outcome of one answer against the references of its question."""

    CORRECT = "correct"
    """Matches a reference (also when an earlier answer matched it already)."""
    WRONG = "wrong"
    """Matches no reference."""
    UNSCORED = "unscored"
    """The verifier failed; neither right nor wrong, left out of metrics and counted."""


class DecisionKind(Enum):
    """What is done with an answer set."""

    ANSWER = "answer"
    OFFER_SET = "offer_set"
    """A short ranked list is offered to choose from."""
    ABSTAIN = "abstain"
    """Nothing is shown: the model does not know."""
    ESCALATE = "escalate"
    """Nothing is shown and a person takes over."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One known-right answer of a question."""

    text: str
    """Canonical text."""
    aliases: tuple[str, ...] = ()
    """Other texts that mean the same."""
    weight: float | None = None
    """Its probability in the reference distribution, in [0, 1], when one is known."""

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical text, then the aliases."""
        return (self.text, *self.aliases)


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its references."""

    id: str
    """Unique within its data set; the resampling unit of every interval."""
    question: str
    """Text of the question, without the answer format."""
    references: tuple[Reference, ...]
    """The N right answers, N >= 1 (N = 0 only for a question declared unanswerable by its task)."""
    distribution: Mapping[str, float] | None = None
    """Reference distribution over answers (sums to 1) when one is known: target of KL and total variation."""
    p_correct: Mapping[str, float] | None = None
    """Exact probability that each possible answer is correct (lab only); an answer not listed has that of the
    verifier's method ``p_correct(text)``, or without one probability 0."""
    exclusive: bool = False
    """True when at most one answer can be right, so honest confidences sum to at most 1."""
    ask: str = ""
    """What several answers are asked for with (`polymode.prompts.build_prompt`); empty means the usual sentence."""
    meta: Mapping[str, object] = field(default_factory=dict)
    """Anything else the task wants to keep; JSON-serialisable."""
    target: Target = "verdict"
    """What confidences are scored against; ``distribution`` needs one, here or as the weights of the references."""


class Span(NamedTuple):
    """Half-open range of characters of the unmodified completion."""

    start: int
    end: int

    def slice(self, text: str) -> str:
        """The covered part of ``text``."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Answer:
    """One proposed answer."""

    text: str
    """The answer, surrounding white space removed; ``span.slice(completion) == text`` always."""
    span: Span
    """Where it stands in the completion."""
    confidence: float | None = None
    """Stated probability q in [0, 1]; None when the format has no confidences."""
    confidence_span: Span | None = None
    """Where the number stands in the completion."""
    rationale: str | None = None
    """What speaks for it, as a completion says; in a decided set only what the question holds
    (`polymode.policy.rationales`). None for nothing."""


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """What one completion says: up to K answers, in slot order."""

    status: ParseStatus
    answers: tuple[Answer, ...]
    """K answers when CLEAN, 1..K when PARTIAL, none otherwise."""
    k: int
    """Answers asked for."""
    has_confidence: bool
    """Whether confidences were asked for."""
    reason: str = ""
    """Why the status is not CLEAN, in words; empty when CLEAN."""

    @property
    def is_clean(self) -> bool:
        """Whether the completion followed the format exactly."""
        return self.status is ParseStatus.CLEAN


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer set held against the references of its question. Per-slot tuples have ``len(answer_set.answers)``."""

    answer_set: AnswerSet
    verdicts: tuple[Verdict, ...]
    """Per answer: does it match any reference?"""
    hits: tuple[int | None, ...]
    """Per answer y_i: 1 iff it enlarges the one-to-one matching of answers to references; None when UNSCORED."""
    matches: tuple[int | None, ...]
    """Per answer: index of a reference it matches (its own in the matching for a hit), None when it matches none."""
    duplicates: tuple[int | None, ...]
    """Per answer: slot index (0-based) of the earliest equal answer, None when it is the first of its kind."""
    n_references: int
    """N, the number of references of the question."""
    faults: tuple[str, ...] = ()
    """Texts of verifier failures, one per UNSCORED answer."""
    soft_labels: tuple[float | None, ...] | None = None
    """Per answer w_i in [0, 1], its mass in the reference distribution (`polymode.soft_labels`); None when UNSCORED.
    None for all where the question's target is the verdict."""

    @property
    def labels(self) -> tuple[float | None, ...]:
        """Per answer what its confidence is scored against: ``soft_labels`` where there are some, else ``hits``."""
        return self.hits if self.soft_labels is None else self.soft_labels

    @property
    def coverage(self) -> int:
        """H, the number of distinct references found."""
        return sum(1 for y in self.hits if y)

    @property
    def is_scored(self) -> bool:
        """Whether no answer is UNSCORED."""
        return Verdict.UNSCORED not in self.verdicts


@dataclass(frozen=True, slots=True)
class Score:
    """Total and named terms of one completion; ``total == sum(terms.values())``."""

    total: float | None
    """None when the judgement holds an UNSCORED answer: no reward, left out of the group mean."""
    terms: Mapping[str, float]
    """Weighted terms by name (``coverage``, ``brier``, ``format``, ...); empty when ``total`` is None."""
    judgement: Judgement
    """What the score was computed from."""
    by_answer: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Own terms that were given for each answer, weighted, by name: what each answer adds to ``terms``."""

    @property
    def answer_set(self) -> AnswerSet:
        """The parsed answers."""
        return self.judgement.answer_set


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one answer set, and why."""

    kind: DecisionKind
    answers: tuple[Answer, ...]
    """One answer for ANSWER, the first ones of ``ranked`` for OFFER_SET, none otherwise."""
    ranked: tuple[Answer, ...]
    """All distinct answers, the most confident first, with the confidences that were decided on; none when the
    completion cannot be used."""
    reason: str
    """One sentence, with threshold and value."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled text with what is needed to judge it again without its task: a line of ``completions.jsonl``."""

    example: Example
    text: str
    """The model's whole text, unmodified, after the ``<think>`` that its prompt may have opened."""
    k: int
    """Answers asked for."""
    has_confidence: bool
    """Whether confidences were asked for."""
    sample: int = 0
    """Number of this completion among those of its question, from 0."""
    n_tokens: int | None = None
    """Generated tokens, end token included; None when unknown."""
    is_finished: bool = True
    """False when generation was cut off at its length limit."""
    confidences: tuple[float, ...] | None = None
    """Confidence of each slot from outside the text (answer probability, P(True)), in [0, 1]; taken instead of stated
    ones when the text holds K answers."""
    confidence_mass: tuple[float, ...] | None = None
    """Probability, for each slot, of the words that its measured confidence compares (True and False); where it is
    small, the model would rather have said something else. Where one is 0 there are no ``confidences``, and stated ones
    do not count in their place. None where none were compared."""
