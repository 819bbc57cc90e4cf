"""Alignment: how far stated confidences are from a reference distribution (layer L2).

A set names K distinct answers out of many, so both sides are compared on K + 1 cells: these answers, and all others.

    p = (p_1, ..., p_K, 1 - sum p)        reference distribution
    q = (q_1, ..., q_K, 1 - sum q)        when sum q <= 1
    q = (q_1, ..., q_K, 0) / sum q        when sum q > 1 (independent confidences of several right answers)

Joining cells can only shrink a divergence, so these are lower bounds of the divergence over all possible answers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from polymode.distributions import SUM_TOLERANCE
from polymode.errors import ConfigError, RecordError
from polymode.metrics.table import Floats, Ints, check_count, floats

KL_EPS = 1e-3
"""q is mixed with the uniform distribution, (1 - eps) q + eps / cells, so that a left-out answer costs finitely."""


def kl_divergence(p_C: ArrayLike, q_C: ArrayLike, *, eps: float = KL_EPS) -> float:
    """KL(p || q') = sum_i p_i log(p_i / q'_i) in nats, >= 0, with q' = (1 - eps) q + eps / cells.

    Args:
        p_C: reference distribution over the cells, shape (cells,), sum 1.
        q_C: compared distribution, shape (cells,), sum 1.
        eps: smoothing of q; 0 gives infinity where q misses mass of p.

    Raises:
        RecordError: shapes that differ, masses outside [0, 1], or a sum that is not 1.
        ConfigError: eps outside [0, 1).

    >>> round(kl_divergence([0.5, 0.5], [0.25, 0.75], eps=0), 4)
    0.1438
    """
    if not 0 <= eps < 1:
        raise ConfigError(f"eps = {eps!r} is not allowed: use a number from 0 to below 1")
    p_C, q_C = _distributions(p_C, q_C)
    return float(_kl_terms(p_C, (1 - eps) * q_C + eps / len(q_C)).sum())


def total_variation(p_C: ArrayLike, q_C: ArrayLike) -> float:
    """(1/2) sum_i |p_i - q_i|, in [0, 1]; arguments as in `kl_divergence`, without smoothing.

    >>> total_variation([0.5, 0.5], [0.25, 0.75])
    0.25
    """
    p_C, q_C = _distributions(p_C, q_C)
    return float(np.abs(p_C - q_C).sum() / 2)


def _distributions(p_C: ArrayLike, q_C: ArrayLike) -> tuple[Floats, Floats]:
    """Both as arrays of one shape; raises RecordError for what is no distribution. An unknown mass stays NaN."""
    p_C, q_C = floats("p", p_C, 0, 1), floats("q", q_C, 0, 1)
    if p_C.shape != q_C.shape or p_C.ndim != 1 or not len(p_C):
        raise RecordError(f"p and q: shapes {p_C.shape} and {q_C.shape}; give both over the same cells, flat")
    for name, mass_C in (("p", p_C), ("q", q_C)):
        if abs((total := float(mass_C.sum())) - 1) > SUM_TOLERANCE:
            raise RecordError(f"{name}: masses sum to {total:.6g}; they must sum to 1, with a cell for all others")
    return p_C, q_C


def set_divergences(
    owner_A: Ints, p_A: Floats, q_A: Floats, n_sets: int, *, eps: float = KL_EPS
) -> tuple[Floats, Floats]:
    """`kl_divergence` and `total_variation` of N sets, each (N,) and NaN for a set without answers.

    ``owner_A`` is the set of each distinct answer, ``p_A`` its mass in the reference distribution, ``q_A`` its
    confidence, all of shape (A,).
    """

    def with_others(mass_A: Floats) -> tuple[Floats, Floats]:
        total_N = np.bincount(owner_A, mass_A, n_sets)
        return mass_A / np.maximum(total_N, 1.0)[owner_A], np.maximum(1.0 - total_N, 0.0)

    (p_A, p_other_N), (q_A, q_other_N) = with_others(p_A), with_others(q_A)
    n_answers_N = np.bincount(owner_A, minlength=n_sets)
    floor_N = eps / (n_answers_N + 1)
    inside_N = np.bincount(owner_A, _kl_terms(p_A, (1 - eps) * q_A + floor_N[owner_A]), n_sets)
    kl_N = inside_N + _kl_terms(p_other_N, (1 - eps) * q_other_N + floor_N)
    variation_N = (np.bincount(owner_A, np.abs(p_A - q_A), n_sets) + np.abs(p_other_N - q_other_N)) / 2
    return np.where(n_answers_N > 0, kl_N, np.nan), np.where(n_answers_N > 0, variation_N, np.nan)


def _kl_terms(p: Floats, q: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):  # p = 0 adds nothing whatever q is; q = 0 < p is infinite
        # NaN where p is unknown, never 0: an unknown divergence must not look perfect.
        return np.where(p == 0, 0.0, p * np.log(p / q))


def best_coverage(p_correct_N: ArrayLike, k: int) -> float:
    """Expected coverage of the best k answers: the sum of the k largest probabilities of being correct.

    >>> best_coverage([0.1, 0.5, 0.3], 2)
    0.8
    """
    check_count("k", k)
    return float(np.sort(floats("p_correct", p_correct_N, 0))[::-1][:k].sum())
