"""Terms and totals of one judged answer set."""

from __future__ import annotations

import math
from typing import Any

from polymode.errors import ConfigError, RecordError
from polymode.rewards.coverage import coverage_value
from polymode.rewards.proper import LOSSES, other_loss
from polymode.rewards.reward import Reward
from polymode.types import Judgement, ParseStatus, Score, Verdict


def score_set(judgement: Judgement, reward: Reward) -> Score:
    """Total and terms of one judged answer set.

    Args:
        judgement: what `judge` returned.
        reward: preset and weights.

    Returns:
        Terms ``coverage``, ``brier`` (or the name of another score), ``format``, ``repeat`` and ``exclusive``, those
        with a weight; the total is their sum. All are 0 for a set that is not CLEAN, below which no clean set falls.
        Total None and no terms when an answer is UNSCORED.

    Raises:
        ConfigError: a Brier term without confidences, a format weight too small for the repeats that are possible, or
            score `other` for a question with several right answers.
        RecordError: a confidence that is not a number in [0, 1], or a CLEAN set without K answers (sets made by hand).
    """
    answers = judgement.answer_set
    if reward.brier and not answers.has_confidence:
        raise ConfigError(
            f"reward.brier = {reward.brier!r} needs confidences: parse with confidence=True, or set reward.brier = 0"
        )
    if answers.status is not ParseStatus.CLEAN:
        return Score(0.0, dict.fromkeys(reward.term_names, 0.0), judgement)
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


def _paper(judgement: Judgement, confidences: list[float], reward: Reward) -> dict[str, float]:
    terms: dict[str, float] = {}
    hits = judgement.hits
    if reward.coverage:
        if reward.aggregation == "count":
            terms["coverage"] = reward.coverage * sum(hits)  # type: ignore[arg-type]  # no None: checked by the caller
        else:
            value = coverage_value(
                reward.aggregation, judgement.coverage, k=len(hits), n=judgement.n_references, alpha=reward.alpha
            )
            terms["coverage"] = reward.coverage * value
    if reward.brier and reward.score != "brier":
        terms[reward.score] = -reward.brier * _loss(judgement, confidences, reward.score)
    elif reward.brier:
        error = 0.0
        for q, y in zip(confidences, hits):  # noqa: B905  # the hot path; lengths are equal by construction
            error += (q - y) ** 2  # type: ignore[operator]
        terms["brier"] = -reward.brier * (error / len(hits))  # exactly -brier at worst, so format can outweigh it
    if reward.format:
        terms["format"] = float(reward.format)
    if reward.repeat:
        least = reward.least_format(len(hits))
        if reward.format < least:
            raise ConfigError(
                f"reward.format = {reward.format!r} with reward.repeat = {reward.repeat!r}: a clean set of {len(hits)} "
                f"answers could score below malformed text (0); raise format to {least:g}, or lower repeat"
            )
        terms["repeat"] = -reward.repeat * sum(earlier is not None for earlier in judgement.duplicates)
    if reward.confidences == "exclusive" and reward.penalty:
        excess = max(0.0, math.fsum(confidences) - 1 - reward.tolerance)
        terms["exclusive"] = -min(reward.penalty * excess, max(0.0, sum(terms.values())))
    return terms


def _loss(judgement: Judgement, confidences: list[float], score: str) -> float:
    """Loss of the set in [0, 1]: the mean over its answers, or that of the set as one forecast."""
    hits: Any = judgement.hits  # no None: checked by the caller
    if score != "other":
        loss = LOSSES[score]
        return sum(loss(q, y) for q, y in zip(confidences, hits, strict=True)) / len(hits)
    if sum(hits) > 1:
        raise ConfigError(
            f"reward.score = 'other': {sum(hits)} answers are right, but it is for questions with one reference; use "
            "score = 'brier', 'log' or 'spherical' and confidences = 'independent'"
        )
    return other_loss(confidences, hits)


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
