"""A score taken apart by slot: what each answer and each confidence adds to it (for `polymode.credit`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from polymode.credit import SlotScores
from polymode.errors import ConfigError
from polymode.rewards.coverage import coverage_value
from polymode.rewards.proper import loss_of
from polymode.rewards.reward import Reward
from polymode.types import Score


def slot_scores(scores: Sequence[Score], reward: Reward, k: int) -> SlotScores:
    """The scores of N completions by slot, padded to ``k`` slots with NaN.

    ::

        coverage_i    weight x (v(y_1 + ... + y_i) - v(y_1 + ... + y_(i-1))), minus the penalty of a repeat
        confidence_i  -weight x loss(q_i, y_i) / K

    v is the value of the references found: their number, or what ``reward.coverage`` says. What an own term gives for
    single answers is added to coverage_i. Terms that belong to the set (format, `exclusive`, the score `other`, an own
    term's one number) stay in the total. A completion that is malformed or unscored has no slots.

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
        hits_K = [int(y or 0) for y in judgement.hits]
        n_slots = len(hits_K)
        hits_NK[row, :n_slots] = hits_K
        coverage_NK[row, :n_slots] = _gains(hits_K, reward, judgement.n_references)
        for values_K in score.by_answer.values():
            coverage_NK[row, :n_slots] += values_K
        coverage_NK[row, :n_slots] -= reward.repeat_penalty * np.array([d is not None for d in judgement.duplicates])
        if reward.confidence_weight and reward.confidence_score != "other":
            loss = loss_of(reward.confidence_score)
            for slot, (answer, y) in enumerate(zip(judgement.answer_set.answers, hits_K, strict=True)):
                assert answer.confidence is not None  # a calibrated reward has refused it
                confidence_NK[row, slot] = -reward.confidence_weight * loss(answer.confidence, y) / n_slots
    return SlotScores(total_N, coverage_NK, confidence_NK, hits_NK)


def _gains(hits_K: Sequence[int], reward: Reward, n_references: int) -> list[float]:
    """What each slot adds to the weighted coverage."""
    values = [
        coverage_value(reward.coverage, int(m), k=len(hits_K), n=n_references, alpha=reward.coverage_alpha)
        for m in np.cumsum([0, *hits_K])
    ]
    return [reward.coverage_weight * (after - before) for before, after in pairwise(values)]
