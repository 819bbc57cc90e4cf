"""Terms and totals of one judged answer set."""

from __future__ import annotations

import math

from polymode.errors import ConfigError, RecordError
from polymode.rewards.reward import Reward
from polymode.types import Judgement, ParseStatus, Score, Verdict


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
