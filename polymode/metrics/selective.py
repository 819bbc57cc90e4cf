"""Selective answering: how well confidence ranks right above wrong, and what abstaining buys (layer L2).

Equal confidences are one group: pairs count half in the AUROC, and the risk-coverage curve accepts a group's members
in random order. Axis ``_U``: the different confidences, rising.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from polymode.metrics.table import DECIMALS, Floats, Ints, check_count, observations
from polymode.uncertainty import Items, Statistic, SumStatistic, WeightedStatistic, question_sums, ratio

MAX_GROUPS = 128
"""Up to so many different confidences the bootstrap uses sums of them."""


def auroc_from_groups(count_U: Floats, y_U: Floats) -> Floats:
    """`auroc` from the number of observations and of hits per confidence value, values rising along the last axis."""
    wrong_U = count_U - y_U
    below_U = np.cumsum(wrong_U, axis=-1) - wrong_U
    pairs = y_U.sum(-1) * wrong_U.sum(-1)
    return ratio((y_U * (below_U + wrong_U / 2)).sum(-1), pairs)


def auroc(q_N: ArrayLike, y_N: ArrayLike) -> float:
    """Area under the ROC curve: P(q of a random right answer > q of a random wrong one), ties counting half.

    Args:
        q_N: confidences in [0, 1], shape (n,).
        y_N: labels, 1 for a right answer and 0 for a wrong one, shape (n,); a soft label w counts as w right and 1 - w
            wrong answers.

    Returns:
        A number in [0, 1], 1 is best and 0.5 is chance; NaN when only one class occurs. Pairs in which one is NaN are
        left out.

    >>> auroc([0.8, 0.5, 0.5, 0.2], [1, 1, 0, 0])
    0.875

    Source: Hanley & McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747.
    """
    return float(auroc_from_groups(*_group_sums(*observations(q_N, y_N))))


def aurc_from_groups(count_U: Floats, y_U: Floats) -> Floats:
    """`aurc` from whole numbers of observations and of hits per confidence value, values rising along the last axis."""
    m_U, wrong_U = count_U[..., ::-1], (count_U - y_U)[..., ::-1]
    reached_U = np.cumsum(m_U, axis=-1)
    before_U, errors_U = reached_U - m_U, np.cumsum(wrong_U, axis=-1) - wrong_U
    # One group of m observations with error rate r, after `before` observations with `errors` errors:
    # sum_{j=1..m} (errors + j r) / (before + j) = m r + (errors - before r) (Harm(before + m) - Harm(before)).
    rate_U = np.nan_to_num(ratio(wrong_U, m_U))
    total = np.asarray(reached_U[..., -1:].max(initial=0.0))
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, int(total) + 1))])
    steps_U = harmonic[reached_U.astype(np.int64)] - harmonic[before_U.astype(np.int64)]
    return ratio((wrong_U + (errors_U - before_U * rate_U) * steps_U).sum(-1), count_U.sum(-1))


def aurc(q_N: ArrayLike, y_N: ArrayLike) -> float:
    """Area under the risk-coverage curve: (1/n) sum_i of the error rate among the i most confident decisions.

    Decisions of equal confidence are taken in random order (the expectation is exact), so the order of the input does
    not matter, and one confidence for all gives the plain error rate.

    Arguments as for `auroc`. Returns a number in [0, 1], 0 is best; NaN without decisions.

    >>> round(aurc([0.9, 0.5, 0.1], [1, 0, 1]), 6)  # error rates 0, 1/2, 1/3
    0.277778

    Source: Geifman, Uziel & El-Yaniv 2019, https://arxiv.org/abs/1805.08206.
    """
    return float(aurc_from_groups(*_group_sums(*observations(q_N, y_N))))


def risk_coverage(q_N: ArrayLike, y_N: ArrayLike, *, max_points: int = 200) -> tuple[Floats, Floats]:
    """The risk-coverage curve: at each threshold, the share of decisions with q >= threshold, and their error rate.

    Arguments as for `auroc`, and:
        max_points: thin the curve to at most this many thresholds, the last (every decision) always among them.

    Returns:
        Coverage and risk, both in [0, 1] and of shape (points,), thresholds falling; one point for each different
        confidence; empty without decisions.

    >>> coverage, risk = risk_coverage([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 0])
    >>> coverage.tolist(), risk.round(2).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.33, 0.5])

    Source: El-Yaniv & Wiener 2010, https://www.jmlr.org/papers/v11/el-yaniv10a.html.
    """
    check_count("max_points", max_points)
    return risk_coverage_from_sums(*_group_sums(*observations(q_N, y_N)), max_points=max_points)


def risk_coverage_from_sums(count_U: Floats, y_U: Floats, *, max_points: int = 200) -> tuple[Floats, Floats]:
    """`risk_coverage` from the number of decisions and of right ones per confidence value, values rising."""
    n = count_U.sum()
    reached_U, errors_U = np.cumsum(count_U[::-1]), np.cumsum((count_U - y_U)[::-1])
    if len(count_U) > max_points:
        places = np.searchsorted(reached_U, np.arange(1, max_points + 1) * (n / max_points) - 1e-9)
        places = np.unique(np.minimum(places, len(count_U) - 1))
        reached_U, errors_U = reached_U[places], errors_U[places]
    return reached_U / max(n, 1), errors_U / reached_U


def _groups(q_N: Floats, values_U: Floats | None = None) -> tuple[Ints, int]:
    """Index of each confidence among the distinct ones in rising order, and their number."""
    rounded_N = np.round(q_N, DECIMALS)
    if values_U is None:
        values_U = np.unique(rounded_N)  # its inverse would take twice the time and memory
    return np.searchsorted(values_U, rounded_N), len(values_U)


def _group_sums(q_N: Floats, y_N: Floats) -> tuple[Floats, Floats]:
    """Observations and hits of each distinct confidence, both (U,), confidences rising."""
    group_N, n_groups = _groups(q_N)
    return question_sums(group_N, None, n_groups), question_sums(group_N, y_N, n_groups)


def _narrow(x_N: Floats) -> Floats:
    """The same numbers in half the memory where that loses nothing, as of counts and hits."""
    narrow_N = x_N.astype(np.float32)
    return narrow_N if np.array_equal(narrow_N, x_N) else x_N


def ranking_statistic(
    formula: Callable[[Floats, Floats], Floats],
    q_N: Floats,
    y_N: Floats,
    question_N: Ints,
    n_questions: int,
    values_U: Floats | None = None,
) -> Statistic:
    """A formula on sums of equal q, rising, for the bootstrap: by sums over questions or anew in each replicate.

    Such as `auroc_from_groups` or `aurc_from_groups`. ``values_U`` are all values of q to `DECIMALS`, where these are
    only some.
    """
    group_N, n_groups = _groups(q_N, values_U)
    if n_groups == 0:
        return SumStatistic((np.zeros(n_questions), np.zeros(n_questions)), ratio, 0)
    has_right_P, has_wrong_P = (question_sums(question_N, x_N, n_questions) > 0 for x_N in (y_N, 1 - y_N))
    support = (has_right_P | has_wrong_P,) if formula is aurc_from_groups else (has_right_P, has_wrong_P)
    if n_groups <= MAX_GROUPS:
        cell_N, size = question_N * n_groups + group_N, n_questions * n_groups
        sums = (_narrow(question_sums(cell_N, x_N, size)).reshape(n_questions, n_groups) for x_N in (None, y_N))
        return SumStatistic(tuple(sums), formula, len(q_N), support=support)
    items = Items(group_N.astype(np.int32), question_N.astype(np.int32), _narrow(y_N))
    of_items = partial(_of_items, formula)
    return WeightedStatistic(of_items(items), len(q_N), support=support, items=items, of_items=of_items)


def _of_items(formula: Callable[[Floats, Floats], Floats], items: Items) -> Callable[[Floats], float]:
    """The formula as a function of weights on questions."""
    order_N = np.argsort(items.group_N, kind="stable")
    group_N, owner_N, label_N = (x_N[order_N] for x_N in items)
    start_U = np.flatnonzero(np.diff(group_N, prepend=-1))

    def compute(weight_P: Floats) -> float:
        # A question drawn twice counts each of its observations twice; groups are then summed where each one starts.
        count_N = weight_P[owner_N]
        return float(formula(np.add.reduceat(count_N, start_U), np.add.reduceat(count_N * label_N, start_U)))

    return compute
