"""A reliability curve without bins: the share that is right by confidence, as far as it rises (layer L2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from polymode.metrics.table import DECIMALS, Floats, observations
from polymode.uncertainty import ratio


class IsotonicReliability(NamedTuple):
    """Steps of the curve, confidences rising, each of shape (steps,)."""

    confidence: Floats
    """Mean confidence of the step's observations."""
    frequency: Floats
    """Share of them that is right, rising from step to step."""
    count: Floats


def isotonic_reliability(q_N: ArrayLike, y_N: ArrayLike) -> IsotonicReliability:
    """The rising step function of the confidence that fits the labels best (pool adjacent violators).

        argmin over non-decreasing f of sum_i (f(q_i) - y_i)^2

    A calibrated model has f(q) = q. No bins have to be chosen; a step is as wide as the labels need it to be.

    Args:
        q_N: confidences in [0, 1], shape (n,).
        y_N: labels 0 or 1, or soft labels in [0, 1], shape (n,). Pairs in which one is NaN are left out.

    Returns:
        The steps; none without observations.

    >>> curve = isotonic_reliability([0.25, 0.5, 0.75, 1.0], [0, 1, 0, 1])
    >>> curve.confidence.tolist(), curve.frequency.tolist(), curve.count.tolist()
    ([0.25, 0.625, 1.0], [0.0, 0.5, 1.0], [1.0, 2.0, 1.0])

    Source: Dimitriadis, Gneiting & Jordan 2021, https://doi.org/10.1073/pnas.2016191118.
    """
    q_N, y_N = observations(q_N, y_N)
    values_U, group_N = np.unique(np.round(q_N, DECIMALS), return_inverse=True)  # equal ones have one frequency
    return isotonic_from_sums(values_U, np.bincount(group_N).astype(float), np.bincount(group_N, y_N))


def isotonic_from_sums(values_U: Floats, count_U: Floats, right_U: Floats) -> IsotonicReliability:
    """`isotonic_reliability` from the different confidences, rising, their observations and their hits, all (U,)."""
    from scipy.optimize import isotonic_regression  # the other functions of polymode.metrics need no SciPy

    if not len(values_U):
        return IsotonicReliability(np.empty(0), np.empty(0), np.empty(0))
    fitted: Any = isotonic_regression(right_U / count_U, weights=count_U)
    start = fitted.blocks[:-1]
    q, right, count = (np.add.reduceat(a_U, start) for a_U in (values_U * count_U, right_U, count_U))
    return IsotonicReliability(ratio(q, count), ratio(right, count), count)
