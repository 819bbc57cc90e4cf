"""A score taken apart by slot: what each answer and each confidence adds to it (for `polymode.credit`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from polymode.credit import SlotScores
from polymode.errors import ConfigError
from polymode.rewards.coverage import coverage_value
from polymode.rewards.reward import Reward
from polymode.rewards.terms import answer_losses
from polymode.types import Score


def slot_scores(scores: Sequence[Score], reward: Reward, k: int) -> SlotScores:
    """The scores of N completions by slot, padded to ``k`` slots with NaN.

    ::

        coverage_i    weight x (v(y_1 + ... + y_i) - v(y_1 + ... + y_(i-1))), minus the penalty of a repeat
        confidence_i  -weight x loss(q_i, y_i) / K, against the soft label where the target is a distribution

    v is what ``reward.coverage`` makes of the references found. What an own term gives for single answers is added to
    coverage_i. Terms that belong to the set (format, `exclusive`, the score `other`, an own term's one number) stay in
    the total. A completion that is malformed or unscored has no slots.

    Raises:
        ConfigError: preset `released`, whose gates look at the whole set.
    """
    if reward.preset != "paper":
        raise ConfigError(f"preset = {reward.preset!r} cannot be credited by slot: use preset 'paper'")
    total_N = np.array([np.nan if score.total is None else score.total for score in scores])
    coverage_NK, confidence_NK, hits_NK = (np.full((len(scores), k), np.nan) for _ in range(3))
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
        hits_NK[row, :n_slots] = hits_K
        coverage_NK[row, :n_slots] = (
            reward.coverage_weight * np.diff(values) + own_K - reward.repeat_penalty * repeats_K
        )
        if reward.confidence_weight and reward.confidence_score != "other":
            # Each answer has a confidence: a calibrated reward has refused others.
            stated: list[float] = [answer.confidence for answer in judgement.answer_set.answers]  # type: ignore[misc]
            losses = answer_losses(judgement, stated, reward.confidence_score)
            confidence_NK[row, :n_slots] = -reward.confidence_weight * np.array(losses) / n_slots
    return SlotScores(total_N, coverage_NK, confidence_NK, hits_NK)
