"""Selective answering: how well confidence ranks right above wrong, and what abstaining buys (layer L2).

Weighted versions count observation i w_i times (whole numbers), so that a bootstrap replicate equals the metric on
the resampled observations. Equal confidences are one group: pairs count half in the AUROC, and the risk-coverage
curve accepts a group's members in random order.
"""

from __future__ import annotations

import numpy as np

from polymode.metrics.table import Floats, Ints
from polymode.uncertainty import Statistic, SumStatistic, WeightedStatistic, ratio

MAX_GROUPS = 128
"""With at most this many different confidences, ranking metrics are computed from sums per confidence,"""
MAX_CELLS = 8_000_000
"""and with at most this many questions times confidences (memory)."""


def auroc_from_groups(count: Floats, y: Floats) -> Floats:
    """AUROC from the number of observations and of hits per confidence value, values rising along the last axis."""
    wrong = count - y
    below = np.cumsum(wrong, axis=-1) - wrong
    pairs = y.sum(-1) * wrong.sum(-1)
    return ratio((y * (below + wrong / 2)).sum(-1), pairs)


def auroc(q: Floats, y: Floats, weight: Floats | None = None) -> float:
    """Probability that a random hit has a higher confidence than a random miss, ties counting half, in [0, 1].

    Args:
        q: confidences, shape (n,).
        y: labels 0 or 1, shape (n,).
        weight: whole or real weights >= 0, shape (n,).

    Returns:
        NaN when only one class occurs.
    """
    weight = np.ones(len(q)) if weight is None else weight
    group, n_groups = _groups(q)
    return float(auroc_from_groups(np.bincount(group, weight, n_groups), np.bincount(group, weight * y, n_groups)))


def aurc_from_groups(count: Floats, y: Floats) -> Floats:
    """`aurc` from whole numbers of observations and of hits per confidence value, values rising along the last axis."""
    m, wrong = count[..., ::-1], (count - y)[..., ::-1]
    reached = np.cumsum(m, axis=-1)
    before, errors = reached - m, np.cumsum(wrong, axis=-1) - wrong
    # One group of m observations with error rate r, after `before` observations with `errors` errors:
    # sum_{j=1..m} (errors + j r) / (before + j) = m r + (errors - before r) (Harm(before + m) - Harm(before)).
    rate = np.nan_to_num(ratio(wrong, m))
    total = np.asarray(reached[..., -1:].max(initial=0.0))
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, int(total) + 1))])
    steps = harmonic[reached.astype(np.int64)] - harmonic[before.astype(np.int64)]
    return ratio((wrong + (errors - before * rate) * steps).sum(-1), count.sum(-1))


def aurc(q: Floats, y: Floats) -> float:
    """Area under the risk-coverage curve: mean over i of the error rate among the i most confident, in [0, 1].

    Lower is better; answering everything at random order gives the plain error rate. Members of a group of equal
    confidences are taken in random order (the expectation is exact).

    Args:
        q: confidence of each decision, shape (n,).
        y: 1 where the decision is right, else 0, shape (n,).

    Returns:
        NaN without decisions.

    Source: Geifman, Uziel & El-Yaniv 2019, https://arxiv.org/abs/1805.08206.
    """
    if len(q) == 0:
        return float("nan")
    group, n_groups = _groups(q)
    return float(aurc_from_groups(np.bincount(group, minlength=n_groups), np.bincount(group, y, n_groups)))


def risk_coverage_curve(q: Floats, y: Floats, *, max_points: int = 200) -> tuple[Floats, Floats]:
    """Coverage (share of decisions kept) and risk (error rate among them) for falling confidence thresholds.

    Args:
        q: confidence of each decision, shape (n,).
        y: 1 where the decision is right, else 0, shape (n,).
        max_points: thin the curve to at most this many thresholds, the last (everything kept) always among them.

    Returns:
        Coverage and risk, both (points,), one point per distinct confidence; empty without decisions.
    """
    if len(q) == 0:
        return np.zeros(0), np.zeros(0)
    group, n_groups = _groups(q)
    reached = np.cumsum(np.bincount(group, minlength=n_groups)[::-1])
    errors = np.cumsum(np.bincount(group, 1.0 - y, n_groups)[::-1])
    if n_groups > max_points:
        keep = np.searchsorted(reached, np.arange(1, max_points + 1) * (len(q) / max_points) - 1e-9)
        keep = np.unique(np.minimum(keep, n_groups - 1))
        reached, errors = reached[keep], errors[keep]
    return reached / len(q), errors / reached


def auroc_statistic(q: Floats, y: Floats, question: Ints, n_questions: int) -> Statistic:
    """`auroc` for the bootstrap."""
    return _ranking_statistic(auroc_from_groups, q, y, question, n_questions)


def aurc_statistic(q: Floats, y: Floats, question: Ints, n_questions: int) -> Statistic:
    """`aurc` for the bootstrap."""
    return _ranking_statistic(aurc_from_groups, q, y, question, n_questions)


def _groups(q: Floats) -> tuple[Ints, int]:
    """Index of each confidence among the distinct ones in rising order, and their number (equal to 12 decimals)."""
    values, group = np.unique(np.round(q, 12), return_inverse=True)
    return group, len(values)


def _ranking_statistic(formula, q: Floats, y: Floats, question: Ints, n_questions: int) -> Statistic:
    """Few confidences: sums per question and confidence. Many: sort once, then weigh and sum per replicate."""
    if len(q) == 0:
        return SumStatistic((np.zeros(n_questions), np.zeros(n_questions)), ratio, 0)
    group, n_groups = _groups(q)
    if n_groups <= MAX_GROUPS and n_groups * n_questions <= MAX_CELLS:
        cell, shape = question * n_groups + group, (n_questions, n_groups)
        size = n_questions * n_groups
        count = np.bincount(cell, minlength=size).astype(float).reshape(shape)
        return SumStatistic((count, np.bincount(cell, y, size).reshape(shape)), formula, len(q))
    order = np.argsort(group, kind="stable")
    group, owner, label = group[order], question[order].astype(np.int32), y[order]
    distinct = n_groups == len(q)
    start = np.flatnonzero(np.diff(group, prepend=-1))

    def compute(weights: Floats) -> float:
        count = weights[owner]
        hits = count * label
        if not distinct:
            count, hits = np.add.reduceat(count, start), np.add.reduceat(hits, start)
        return float(formula(count, hits))

    return WeightedStatistic(compute, len(q))
