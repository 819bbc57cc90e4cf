"""A score taken apart by slot: what each answer and each confidence adds to it (for `polymode.credit`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from polymode.credit import Order, SlotScores
from polymode.errors import ConfigError
from polymode.rewards.coverage import coverage_value
from polymode.rewards.proper import loss_of
from polymode.rewards.reward import Reward
from polymode.rewards.terms import answer_losses
from polymode.types import Score


def slot_scores(scores: Sequence[Score], reward: Reward, k: int) -> SlotScores:
    """The scores of N completions by slot, padded to ``k`` slots with NaN.

    ::

        coverage_i    weight x (v(y_1 + ... + y_i) - v(y_1 + ... + y_(i-1))), minus the penalty of a repeat
        confidence_i  -weight x loss(q_i, y_i) / K, against the soft label where the target is a distribution;
                      the same with the labels 1 and 0

    v is what ``reward.coverage`` makes of the references found. What an own term gives for single answers is added to
    coverage_i. Terms that belong to the set (format, `exclusive`, the score `other`, an own term's one number) stay in
    the total. A completion that is malformed or unscored has no slots.

    Raises:
        ConfigError: preset `released`, whose gates look at the whole set.
    """
    if reward.preset != "paper":
        raise ConfigError(f"preset = {reward.preset!r} cannot be credited by slot: use preset 'paper'")
    total_N = np.array([np.nan if score.total is None else score.total for score in scores])
    coverage_NK, confidence_NK, labels_NK, if_hit_NK, if_miss_NK, q_NK = np.full((6, len(scores), k), np.nan)
    order_N = np.zeros(len(scores))
    for row, score in enumerate(scores):
        judgement = score.judgement
        if score.total is None or not judgement.answer_set.is_clean:
            continue
        hits_K = [y or 0 for y in judgement.hits]
        n, n_slots, alpha = judgement.n_references, len(hits_K), reward.coverage_alpha
        values = [
            coverage_value(reward.coverage, m, k=n_slots, n=n, alpha=alpha) for m in accumulate(hits_K, initial=0)
        ]
        repeats_K = np.array([earlier is not None for earlier in judgement.duplicates])
        own_K = np.sum(list(score.by_answer.values()), axis=0)
        labels_NK[row, :n_slots] = [label or 0 for label in judgement.labels]
        coverage_NK[row, :n_slots] = (
            reward.coverage_weight * np.diff(values) + own_K - reward.repeat_penalty * repeats_K
        )
        answers: Any = judgement.answer_set.answers  # all with a confidence, or none
        if answers[0].confidence_span is not None:
            q_NK[row, :n_slots] = [answer.confidence for answer in answers]
            order_N[row] = _order_of(answers)
        if reward.confidence_weight and reward.confidence_score != "other":
            # Each answer has a confidence: a calibrated reward has refused others.
            loss, unit = loss_of(reward.confidence_score), -reward.confidence_weight / n_slots
            stated = [answer.confidence for answer in answers]
            if_hit_NK[row, :n_slots] = [unit * loss(q, 1) for q in stated]
            if_miss_NK[row, :n_slots] = [unit * loss(q, 0) for q in stated]
            confidence_NK[row, :n_slots] = unit * np.array(answer_losses(judgement, stated, reward.confidence_score))
    return SlotScores(total_N, coverage_NK, confidence_NK, labels_NK, if_hit_NK, if_miss_NK, q_NK, order_N)


def _order_of(answers: Any) -> Order:
    """Where the answers of a clean completion have their confidences: all in one way, so the first one tells."""
    first = answers[0].confidence_span.start
    if first < answers[0].span.start:
        return Order.CONFIDENCE_FIRST
    return Order.BLOCKED if first > answers[-1].span.start else Order.INTERLEAVED
