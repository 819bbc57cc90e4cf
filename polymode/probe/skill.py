"""What confidences of the same answers are worth beside each other, and beside constants (layer L2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from polymode.metrics.selective import auroc_from_groups, ranking_statistic
from polymode.probe.logistic import Floats
from polymode.probe.probe import Ints
from polymode.uncertainty import N_BOOT, Estimate, Statistic, SumStatistic, bootstrap, mean_of_items, ratio

CONSTANT, SLOT_CONSTANTS = "best constant", "best constant per slot"
"""Confidences that no answer has, chosen on the answers that they are scored on: the strongest of their kind."""


def auroc_within(q_N: Floats, y_N: Floats, question_N: Ints, n_questions: int) -> SumStatistic:
    """P(q of a right answer > q of a wrong one) over all pairs of answers to one question, ties counting half.

    What the pooled AUROC has beyond it is knowledge of which questions are easy.
    """
    ordered_P, pairs_P = np.zeros(n_questions), np.zeros(n_questions)
    order_N = np.argsort(question_N, kind="stable")
    for own in np.split(order_N, np.flatnonzero(np.diff(question_N[order_N])) + 1):
        right, wrong = q_N[own][y_N[own] == 1], q_N[own][y_N[own] == 0]
        if len(right) and len(wrong):
            above = right[:, None] - wrong
            ordered_P[question_N[own[0]]] = (above > 1e-12).sum() + (np.abs(above) <= 1e-12).sum() / 2
            pairs_P[question_N[own[0]]] = above.size
    return SumStatistic((ordered_P, pairs_P), ratio, int(pairs_P.sum()))


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
        y_N: 1 for a right answer, 0 for a wrong one.
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
        statistics[name, "within"] = auroc_within(q_N, y_N, index_N, n)
        statistics[name, "pooled"] = ranking_statistic(auroc_from_groups, q_N, y_N, index_N, n)
        statistics[name, "brier"] = mean_of_items(index_N, (q_N - y_N) ** 2, n)
    statistics[CONSTANT, "brier"] = _constants(y_N, index_N, np.zeros_like(slot_N), n)
    statistics[SLOT_CONSTANTS, "brier"] = _constants(y_N, index_N, slot_N, n)
    out: dict[str, dict[str, Estimate]] = {}
    for (name, metric), estimate in bootstrap(statistics, n, rng=rng, n_boot=n_boot).items():
        out.setdefault(name, {})[metric] = estimate
    return out


def _constants(y_N: Floats, index_N: Ints, slot_N: Ints, n: int) -> SumStatistic:
    """Brier score of the mean label of each slot: sum_k n_k m_k (1 - m_k) / n, as y is 0 or 1."""
    width = int(slot_N.max(initial=0)) + 1
    cell_N = index_N * width + slot_N
    right_PK = np.bincount(cell_N, y_N, n * width).reshape(n, width)
    count_PK = np.bincount(cell_N, minlength=n * width).reshape(n, width).astype(float)

    def brier(right_K: Floats, count_K: Floats) -> Floats:
        variance_K = np.nan_to_num(right_K - ratio(right_K**2, count_K))
        return ratio(variance_K.sum(-1), count_K.sum(-1))

    return SumStatistic((right_PK, count_PK), brier, len(y_N))
