"""A score taken apart by slot: what each answer and each confidence adds to it (for `polymode.credit`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from polymode.credit import SlotScores
from polymode.errors import ConfigError
from polymode.rewards.coverage import coverage_value
from polymode.rewards.proper import LOSSES
from polymode.rewards.reward import Reward
from polymode.types import Score


def slot_scores(scores: Sequence[Score], reward: Reward, k: int) -> SlotScores:
    """The scores of N completions by slot, padded to ``k`` slots with NaN.

    ::

        coverage_i    weight x (v(y_1 + ... + y_i) - v(y_1 + ... + y_(i-1))), minus the penalty of a repeat
        confidence_i  -weight x loss(q_i, y_i) / K

    v is the value of the references found: their number, or what ``reward.aggregation`` says. Terms that belong to the
    set (format, `exclusive`, the score `other`) stay in the total. A completion that is malformed or unscored has no
    slots.

    Raises:
        ConfigError: preset `released`, whose gates look at the whole set.
    """
    if reward.preset != "paper":
        raise ConfigError(f"preset = {reward.preset!r} cannot be credited by slot: use preset 'paper'")
    total = np.array([np.nan if score.total is None else score.total for score in scores])
    coverage, confidence, hits = (np.full((len(scores), k), np.nan) for _ in range(3))
    for row, score in enumerate(scores):
        judgement = score.judgement
        if score.total is None or not judgement.answer_set.is_clean:
            continue
        found = [int(y or 0) for y in judgement.hits]
        n_slots = len(found)
        coverage[row, :n_slots] = _steps(found, reward, judgement.n_references)
        hits[row, :n_slots] = found
        if reward.repeat:
            coverage[row, :n_slots] -= reward.repeat * np.array([d is not None for d in judgement.duplicates])
        if reward.brier and reward.score != "other":
            loss = LOSSES[reward.score]
            for slot, (answer, y) in enumerate(zip(judgement.answer_set.answers, found, strict=True)):
                assert answer.confidence is not None  # a calibrated reward has refused it
                confidence[row, slot] = -reward.brier * loss(answer.confidence, y) / n_slots
    return SlotScores(total, coverage, confidence, hits)


def _steps(found: Sequence[int], reward: Reward, n_references: int) -> list[float]:
    """What each slot adds to the weighted coverage."""
    if reward.aggregation == "count":
        return [reward.coverage * y for y in found]
    values = [
        coverage_value(reward.aggregation, int(h), k=len(found), n=n_references, alpha=reward.alpha)
        for h in np.cumsum([0, *found])
    ]
    return [reward.coverage * (after - before) for before, after in pairwise(values)]
