"""Terms and totals: what a judged answer set is worth (layer L2).

Preset `paper` (Puri et al., https://arxiv.org/abs/2603.24844, with y_i in place of the plain match)::

    coverage = Σ y_i      brier = -(1/K) Σ (q_i - y_i)²      format = 1 if CLEAN

K = 1 gives RLVR and RLCR (https://arxiv.org/abs/2507.16806). The sum is over the K slots asked for, so leaving slots
out cannot pay; a repeated answer has y = 0, so it adds nothing with q = 0 and costs q²/K otherwise. Honest confidences
are the best ones, and a further right answer always pays, as long as coverage weight >= brier weight / K.

Preset `released` reproduces the terms and gates of the authors' published code, for comparison: any-correct instead of
a count, 1 - mean Brier on plain matches, repeats found by comparing lower-cased texts only, no Brier term when the
confidences sum above 1. The set is read by our parser, so its looser check of the format is not reproduced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polymode.errors import ConfigError, RecordError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.references import check_references, references_from
from polymode.types import Example, Judgement, ParseStatus, Reference, Score, Verdict
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

PRESETS = ("paper", "released")
CONFIDENCES = ("independent", "exclusive")


@dataclass(frozen=True, slots=True)
class Reward:
    """What each term weighs. A weight of 0 leaves the term out."""

    coverage: float = 1.0
    """Weight of each distinct reference found (`released`: of having any answer right)."""
    brier: float = 1.0
    """Weight of the mean squared error of the confidences; 0 for formats without confidences."""
    format: float = 1.0
    """Weight of following the format; at least ``brier`` in preset `paper`, so that no clean set scores below 0."""
    preset: Literal["paper", "released"] = "paper"
    """Which formulas."""
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`: at most one answer can be right, so confidences that sum above 1 are penalised."""
    penalty: float = 1.0
    """`exclusive` only: weight of max(0, Σ q - 1 - tolerance); the penalty never takes a clean set below 0."""
    tolerance: float = 0.01
    """`exclusive` only: excess of Σ q over 1 that costs nothing, so that rounding is never punished."""

    def __post_init__(self) -> None:
        """Refuse weights that would make malformed text worth more than an answer."""
        for name in ("coverage", "brier", "format", "penalty", "tolerance"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigError(f"reward.{name} = {value!r} is not allowed: use a finite number, at least 0")
        _one_of("preset", self.preset, PRESETS)
        _one_of("confidences", self.confidences, CONFIDENCES)
        if self.preset == "paper" and self.format < self.brier:
            raise ConfigError(
                f"reward.format = {self.format!r} is below reward.brier = {self.brier!r}: a malformed completion (0) "
                "would then score above an honest wrong answer; raise format or lower brier"
            )
        if self.preset == "released" and self.confidences == "exclusive":
            raise ConfigError(
                "reward.confidences = 'exclusive' with preset 'released': it has its own gate; leave it out"
            )


def _one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"reward.{name} = {value!r} is not known: use one of {', '.join(allowed)}")


def score_set(judgement: Judgement, reward: Reward) -> Score:
    """Total and terms of one judged answer set.

    Args:
        judgement: what `judge` returned.
        reward: preset and weights.

    Returns:
        Terms ``coverage``, ``brier``, ``format`` (and ``exclusive``), those with a weight; the total is their sum. All
        are 0 for a set that is not CLEAN, below which no clean set falls. Total None and no terms when an answer is
        UNSCORED.

    Raises:
        ConfigError: a Brier term without confidences.
        RecordError: a confidence that is not a number in [0, 1], or a CLEAN set without K answers (sets made by hand).
    """
    answers = judgement.answer_set
    if reward.brier and not answers.has_confidence:
        raise ConfigError(
            f"reward.brier = {reward.brier!r} needs confidences: parse with confidence=True, or set reward.brier = 0"
        )
    if answers.status is not ParseStatus.CLEAN:
        return Score(0.0, dict.fromkeys(_term_names(reward), 0.0), judgement)
    if len(answers.answers) != answers.k:
        raise RecordError(f"answers: a clean set of k = {answers.k} has {len(answers.answers)}; give k answers")
    confidences = _confidences(judgement) if reward.brier or reward.confidences == "exclusive" else []
    if None in judgement.hits:
        return Score(None, {}, judgement)
    terms = _paper(judgement, confidences, reward) if reward.preset == "paper" else _released(judgement, reward)
    return Score(sum(terms.values()), terms, judgement)


def _confidences(judgement: Judgement) -> list[float]:
    confidences: list[float] = []
    for slot, answer in enumerate(judgement.answer_set.answers, 1):
        q = answer.confidence
        if q is None or not 0 <= q <= 1:
            raise RecordError(f"answers: confidence {q!r} of answer {slot} is not allowed; give a number from 0 to 1")
        confidences.append(q)
    return confidences


def _term_names(reward: Reward) -> list[str]:
    names = [name for name in ("coverage", "brier", "format") if getattr(reward, name)]
    return [*names, "exclusive"] if reward.confidences == "exclusive" and reward.penalty else names


def _paper(judgement: Judgement, confidences: list[float], reward: Reward) -> dict[str, float]:
    terms: dict[str, float] = {}
    hits = judgement.hits
    if reward.coverage:
        terms["coverage"] = reward.coverage * sum(hits)  # type: ignore[arg-type]  # no None: checked by the caller
    if reward.brier:
        error = 0.0
        for q, y in zip(confidences, hits):  # noqa: B905  # the hot path; lengths are equal by construction
            error += (q - y) ** 2  # type: ignore[operator]
        terms["brier"] = -reward.brier * (error / len(hits))  # exactly -brier at worst, so format can outweigh it
    if reward.format:
        terms["format"] = float(reward.format)
    if reward.confidences == "exclusive" and reward.penalty:
        excess = max(0.0, math.fsum(confidences) - 1 - reward.tolerance)
        terms["exclusive"] = -min(reward.penalty * excess, max(0.0, sum(terms.values())))
    return terms


def _released(judgement: Judgement, reward: Reward) -> dict[str, float]:
    """Terms of the published code; labels are plain matches, repeats included."""
    answers = judgement.answer_set.answers
    right = [verdict is Verdict.CORRECT for verdict in judgement.verdicts]
    is_unique = len({answer.text.lower().strip() for answer in answers}) == len(answers)
    terms: dict[str, float] = {}
    if reward.coverage:
        gated = judgement.answer_set.has_confidence and not is_unique
        terms["coverage"] = reward.coverage * float(any(right) and not gated)
    if reward.brier:
        confidences = _confidences(judgement)
        total = 0.0
        for q in confidences:  # left to right without compensation, as published: exact sums of 1 may come out above 1
            total += q
        error = sum((q - m) ** 2 for q, m in zip(confidences, right, strict=True)) / len(answers)
        terms["brier"] = reward.brier * (1 - error) if is_unique and total <= 1 else 0.0
    if reward.format:
        terms["format"] = float(reward.format)
    return terms


@dataclass(frozen=True, slots=True)
class Method:
    """One of the four ways to train."""

    name: str
    is_multi: bool
    """Whether one completion holds K answers; a single method asks for one."""
    has_confidence: bool
    """Whether answers carry confidences, and the reward a Brier term: the calibrated methods."""

    def answers(self, k: int) -> int:
        """Answers in one completion: K for a multi method, else 1."""
        return k if self.is_multi else 1

    def reward(self, preset: str = "paper") -> Reward:
        """The preset's reward for this method.

        Raises:
            ConfigError: unknown preset.
        """
        _one_of("preset", preset, PRESETS)
        if preset == "released":
            return Reward(0.5, 0.5 if self.has_confidence else 0.0, 0.5, preset="released")
        return Reward(brier=1.0 if self.has_confidence else 0.0)


METHODS: dict[str, Method] = {
    "single-rlvr": Method("single-rlvr", is_multi=False, has_confidence=False),
    "single-rlcr": Method("single-rlcr", is_multi=False, has_confidence=True),
    "multi-rlvr": Method("multi-rlvr", is_multi=True, has_confidence=False),
    "multi-rlcr": Method("multi-rlcr", is_multi=True, has_confidence=True),
}
"""The four methods by name."""


def find_method(name: str) -> Method:
    """The method called ``name``; raises ConfigError listing the known ones."""
    try:
        return METHODS[name]
    except (KeyError, TypeError):
        raise ConfigError(f"method = {name!r} is not known: use one of {', '.join(METHODS)}") from None


def score(
    completion: str,
    references: Any,
    *,
    k: int,
    method: str = "multi-rlcr",
    verifier: Verifier | QuestionVerifier | None = None,
    preset: str = "paper",
    finished: bool = True,
) -> Score:
    """Parse, judge and score one completion.

    Args:
        completion: the model's whole text.
        references: the right answers: each a string, a list of aliases, an object or a `Reference`. A bare string is
            one reference.
        k: answers asked for; 1 for the single methods.
        method: one of `METHODS`.
        verifier: equality of answers; `TextVerifier` when None.
        preset: ``paper`` or ``released``.
        finished: False when generation was cut off.

    Raises:
        ConfigError: unknown method or preset, k out of range, or k > 1 with a single method.
        RecordError: references that are empty, unreadable, or only aliases of each other.

    >>> text = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
    >>> score(text, ["the flu", ["Covid", "COVID-19"]], k=2).terms
    {'coverage': 1.0, 'brier': -0.125, 'format': 1.0}
    """
    chosen = find_method(method)
    answers = parse_answers(completion, k, confidence=chosen.has_confidence, finished=finished)
    if not chosen.is_multi and k != 1:
        raise ConfigError(f"k = {k!r} with method = {method!r}: a single method asks for one answer; use k = 1")
    equality = verifier if verifier is not None else _TEXT
    if references.__class__ is not tuple or not all(isinstance(item, Reference) for item in references):
        references = references_from(references)
    if not isinstance(equality, QuestionVerifier):  # what it holds as references need not be answers
        check_references(references, equality)
    return score_set(judge(Example("", "", references), answers, equality), chosen.reward(preset))


_TEXT = TextVerifier()
