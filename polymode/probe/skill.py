"""What confidences of the same answers are worth beside each other, and beside constants (layer L2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from polymode.metrics.limits import with_limits
from polymode.metrics.scores import brier_terms
from polymode.metrics.selective import auroc_from_groups, ranking_statistic
from polymode.metrics.skill import slot_constant, within_question
from polymode.probe.logistic import Floats
from polymode.probe.probe import Ints
from polymode.uncertainty import N_BOOT, Estimate, Statistic, bootstrap, mean_of_items

CONSTANT, SLOT_CONSTANTS = "best constant", "best constant per slot"
"""Confidences that no answer has, the best of their kind (`polymode.metrics.skill.slot_constants`)."""


def skill(
    confidences: Mapping[str, Floats],
    y_N: Floats,
    question_N: Sequence[Hashable],
    slot_N: Ints,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> dict[str, dict[str, Estimate]]:
    """AUROC within question and pooled, and Brier score, of each kind of confidence and of the two constants.

    Args:
        confidences: by name, each of shape (N,), without NaN.
        y_N: labels in [0, 1]: 1 for a right answer, 0 for a wrong one, or a share (`polymode.soft_labels`).
        question_N: question of each answer; whole questions are resampled.
        slot_N: slot of each answer, from 0.
        rng: source of the resamples.
        n_boot: replicates.

    Returns:
        By name and metric (``within``, ``pooled``, ``brier``); the constants have a Brier score alone.
    """
    number_of = {question: i for i, question in enumerate(dict.fromkeys(question_N))}
    index_N, n = np.array([number_of[question] for question in question_N], dtype=int), len(number_of)
    statistics: dict[tuple[str, str], Statistic] = {}
    for name, q_N in confidences.items():
        statistics[name, "within"] = within_question(q_N, y_N, index_N, n)
        statistics[name, "pooled"] = ranking_statistic(auroc_from_groups, q_N, y_N, index_N, n)
        statistics[name, "brier"] = mean_of_items(index_N, brier_terms(q_N, y_N), n)
    statistics[CONSTANT, "brier"] = slot_constant(y_N, np.zeros_like(slot_N), index_N, n)
    statistics[SLOT_CONSTANTS, "brier"] = slot_constant(y_N, slot_N, index_N, n)
    out: dict[str, dict[str, Estimate]] = {}
    limited = {key: with_limits(_metric_of(*key), statistic) for key, statistic in statistics.items()}
    for (name, metric), estimate in bootstrap(limited, n, rng=rng, n_boot=n_boot).items():
        out.setdefault(name, {})[metric] = estimate
    return out


def _metric_of(name: str, metric: str) -> str:
    """What the metric is called in metrics.json, whose limits it has."""
    if name in (CONSTANT, SLOT_CONSTANTS):
        return "brier_slot_constant"
    return {"within": "auroc_within_question", "pooled": "auroc", "brier": "brier"}[metric]
