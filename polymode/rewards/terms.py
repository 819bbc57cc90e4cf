"""The terms of a score in one table, and the total of one judged answer set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.rewards.conditions import RELEASED_TARGET
from polymode.rewards.coverage import coverage_value
from polymode.rewards.own_terms import OwnTerm, open_term, value_of
from polymode.rewards.proper import SCORES, loss_of, other_loss, soft_loss
from polymode.rewards.reward import Reward
from polymode.types import Judgement, ParseStatus, Score, Verdict
from polymode.verifiers.faults import ask

Term = Callable[[Judgement, list[float], Reward, Mapping[str, float]], float]
"""The weighted term of a clean, scored set, from its judgement, confidences, weights and the terms before it."""


def score_set(judgement: Judgement, reward: Reward) -> Score:
    """Total and terms of one judged answer set.

    Returns:
        The terms of `term_names`; the total is their sum. All are 0 for a set that is not CLEAN, below which no clean
        set falls. Total None and no terms when an answer is UNSCORED, or an own term failed: then the judgement has its
        text in ``faults``.

    Raises:
        ConfigError: a calibration term without confidences, a format weight too small for what a clean set can lose, or
            score `other` for a question with several right answers, or preset `released` with soft labels.
        RecordError: a confidence that is not a number in [0, 1], or a CLEAN set without K answers (sets made by hand).
    """
    answers = judgement.answer_set
    if reward.confidence_weight and not answers.has_confidence:
        raise ConfigError(
            f"confidence_weight = {reward.confidence_weight!r} needs confidences: parse with confidence=True, or set "
            "confidence_weight = 0"
        )
    built_in, own = _active(reward)
    if answers.status is not ParseStatus.CLEAN:
        return Score(0.0, dict.fromkeys(term_names(reward), 0.0), judgement)
    if len(answers.answers) != answers.k:
        raise RecordError(f"answers: a clean set of k = {answers.k} has {len(answers.answers)}; give k answers")
    confidences = _confidences(judgement) if reward.confidence_weight or reward.confidences == "exclusive" else []
    if None in judgement.hits:
        return Score(None, {}, judgement)
    if reward.repeat_penalty:
        reward.check_format(answers.k)
    terms: dict[str, float] = {}
    by_answer: dict[str, tuple[float, ...]] = {}
    name = ""
    try:
        for name, weight, term in own:
            value = ask(value_of, term, judgement)
            if isinstance(value, list):
                by_answer[name] = tuple(weight * number / len(value) for number in value)
                value = math.fsum(value) / len(value)
            terms[name] = weight * value
        for name, term in built_in:
            terms[name] = term(judgement, confidences, reward, terms)
    except VerifierFault as exc:
        return Score(None, {}, replace(judgement, faults=(*judgement.faults, f"term {name}: {exc}")))
    return Score(sum(terms.values()), terms, judgement, by_answer)


def term_names(reward: Reward) -> list[str]:
    """Names of the terms that have a weight, in their order; the calibration term has the name of its score.

    Raises ConfigError for an own term that cannot be opened, or is called like another one.
    """
    built_in, own = _active(reward)
    return [*(name for name, _, _ in own), *(name for name, _ in built_in)]


@lru_cache(maxsize=64)  # looked up for every completion
def _active(reward: Reward) -> tuple[tuple[tuple[str, Any], ...], tuple[tuple[str, float, OwnTerm], ...]]:
    """Functions of the reward's built-in terms, and name, weight and function of its own ones."""
    own: dict[str, tuple[str, float, OwnTerm]] = {}
    for address, weight in reward.terms.items():
        name = address.rpartition(":")[2]
        if name in own or any(name in table for table in TERMS.values()):
            raise ConfigError(f"terms: {address!r} has the name of another term, {name!r}: rename it")
        own[name] = (name, weight, open_term(address))
    calibration = reward.confidence_score if reward.confidence_score in SCORES.entries else "confidence_score"
    weights = {
        "coverage": reward.coverage_weight,
        calibration: reward.confidence_weight,
        "format": reward.format_weight,
        "repeat": reward.repeat_penalty,
        "exclusive": reward.exclusive_penalty if reward.confidences == "exclusive" else 0.0,
    }
    built_in = ((name, term) for name, term in TERMS[reward.preset].items() if weights.get(name))
    return tuple(built_in), tuple(own.values())


def _confidences(judgement: Judgement) -> list[float]:
    confidences: Any = [answer.confidence for answer in judgement.answer_set.answers]
    for slot, q in enumerate(confidences, 1):
        if q is None or not 0 <= q <= 1:
            raise RecordError(f"answers: confidence {q!r} of answer {slot} is not allowed; give a number from 0 to 1")
    return confidences


def _coverage(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    hits: Any = judgement.hits  # no None: checked by the caller, here and below
    if reward.coverage == "count":
        return reward.coverage_weight * sum(hits)
    n, alpha = judgement.n_references, reward.coverage_alpha
    return reward.coverage_weight * coverage_value(reward.coverage, sum(hits), k=len(hits), n=n, alpha=alpha)


def _brier(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    error = 0.0
    labels: Any = judgement.soft_labels or judgement.hits  # of soft ones the divergence is the same square
    for q, y in zip(confidences, labels):  # noqa: B905  # the hot path; lengths are equal by construction
        error += (q - y) * (q - y)  # half the time of ** 2
    return -reward.confidence_weight * (
        error / len(labels)
    )  # at worst exactly minus the weight, which format outweighs


def answer_losses(judgement: Judgement, confidences: Sequence[float], score: str) -> list[float]:
    """Loss of each confidence of a scored set against its label, hard or soft, in [0, 1]: `polymode.rewards.proper`."""
    loss, labels = loss_of(score), judgement.labels
    if judgement.soft_labels is None:
        return [loss(q, y) for q, y in zip(confidences, labels, strict=True)]
    return [soft_loss(loss, q, w) for q, w in zip(confidences, labels, strict=True)]  # type: ignore[arg-type]


def _mean_loss(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    losses = answer_losses(judgement, confidences, reward.confidence_score)
    return -reward.confidence_weight * (sum(losses) / len(losses))


def _own_loss(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    term = ask(_mean_loss, judgement, confidences, reward, terms)
    if not -reward.confidence_weight <= term <= 0:
        fix = "return numbers from 0 to 1" + ("" if judgement.soft_labels is None else ", least where q is the label")
        raise VerifierFault(f"its mean loss is {-term / reward.confidence_weight!r}: {fix}")
    return term


def _other(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    """The set as one forecast."""
    labels: Any = judgement.labels
    if judgement.soft_labels is None and sum(labels) > 1:
        raise ConfigError(
            f"confidence_score = 'other': {sum(labels)} answers are right, but it is for questions with one reference; "
            "use confidence_score = 'brier', 'log' or 'spherical' and confidences = 'independent'"
        )
    return -reward.confidence_weight * other_loss(confidences, labels)


def _format(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    return float(reward.format_weight)


def _repeat(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    return -reward.repeat_penalty * sum(earlier is not None for earlier in judgement.duplicates)


def _exclusive(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    excess = max(0.0, math.fsum(confidences) - 1 - reward.tolerance)
    return -min(reward.exclusive_penalty * excess, max(0.0, sum(terms.values())))


def _any_right(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    """`released`: plain matches, repeats included; with confidences, nothing for a set with a repeated text."""
    is_gated = judgement.answer_set.has_confidence and not _is_unique(judgement)
    return reward.coverage_weight * float(Verdict.CORRECT in judgement.verdicts and not is_gated)


def _gated_brier(judgement: Judgement, confidences: list[float], reward: Reward, terms: Mapping[str, float]) -> float:
    """`released`: 1 - mean Brier score on plain matches, nothing when texts repeat or confidences sum above 1."""
    if judgement.soft_labels is not None:
        raise ConfigError(RELEASED_TARGET)
    total = 0.0
    for q in confidences:  # left to right without compensation, as published: exact sums of 1 may come out above 1
        total += q
    right = [verdict is Verdict.CORRECT for verdict in judgement.verdicts]
    error = sum((q - m) ** 2 for q, m in zip(confidences, right, strict=True)) / len(right)
    return reward.confidence_weight * (1 - error) if _is_unique(judgement) and total <= 1 else 0.0


def _is_unique(judgement: Judgement) -> bool:
    answers = judgement.answer_set.answers
    return len({answer.text.lower().strip() for answer in answers}) == len(answers)


TERMS: Mapping[str, Mapping[str, Term]] = {
    "paper": {
        "coverage": _coverage,
        "brier": _brier,
        "log": _mean_loss,
        "spherical": _mean_loss,
        "other": _other,
        "confidence_score": _own_loss,
        "format": _format,
        "repeat": _repeat,
        "exclusive": _exclusive,
    },
    "released": {"coverage": _any_right, "brier": _gated_brier, "format": _format},
}
"""The built-in terms of each preset by name, in the order in which they are computed and shown."""
