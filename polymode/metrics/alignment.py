"""Alignment: how far stated confidences or sampled answers are from a known reference distribution (layer L2).

A set names K distinct answers out of many, so both sides are compared on K + 1 cells: the answers named and one
"other" cell for all the rest.

    p = (p_1, ..., p_K, 1 - sum p)        reference distribution
    q = (q_1, ..., q_K, 1 - sum q)        when sum q <= 1
    q = (q_1, ..., q_K, 0) / sum q        when sum q > 1 (independent confidences of several right answers)

Joining cells can only shrink a divergence, so these are lower bounds of the divergence over all possible answers.
"""

from __future__ import annotations

import numpy as np

from polymode.metrics.table import Floats, Ints
from polymode.uncertainty import ratio

KL_EPS = 1e-3
"""q is mixed with the uniform distribution, (1 - eps) q + eps / cells, so that a left-out answer costs finitely."""


def with_other(masses: Floats) -> Floats:
    """Masses (K,) of the named answers and of everything else, shape (K + 1,), summing to 1.

    Masses above 1 in total are divided by their sum and leave nothing for the rest.
    """
    total = float(np.sum(masses))
    if total > 1.0:
        return np.append(np.asarray(masses, float) / total, 0.0)
    return np.append(masses, 1.0 - total)


def kl_divergence(p: Floats, q: Floats, *, eps: float = KL_EPS) -> float:
    """KL(p || q') = sum_i p_i log(p_i / q'_i) in nats, >= 0, with q' = (1 - eps) q + eps / cells.

    Args:
        p: reference distribution over the cells, shape (C,), sum 1.
        q: compared distribution, shape (C,), sum 1.
        eps: smoothing of q; 0 gives infinity where q misses mass of p.
    """
    smooth = (1 - eps) * np.asarray(q, float) + eps / len(q)
    p = np.asarray(p, float)
    held = p > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(p[held] * np.log(p[held] / smooth[held])))


def total_variation(p: Floats, q: Floats) -> float:
    """(1/2) sum_i |p_i - q_i|, in [0, 1]; arguments as in `kl_divergence`, without smoothing."""
    return float(np.abs(np.asarray(p, float) - np.asarray(q, float)).sum() / 2)


def set_divergences(owner: Ints, p: Floats, q: Floats, n_sets: int, *, eps: float = KL_EPS) -> tuple[Floats, Floats]:
    """`kl_divergence` and `total_variation` of many sets at once, each with its "other" cell.

    Args:
        owner: set of each distinct answer, shape (A,).
        p: its mass in the reference distribution, shape (A,).
        q: its confidence, shape (A,).
        n_sets: N.
        eps: smoothing of q.

    Returns:
        KL and total variation, each (N,); NaN for a set without answers.
    """
    (p, p_other), (q, q_other) = (_with_others(owner, masses, n_sets) for masses in (p, q))
    n_answers = np.bincount(owner, minlength=n_sets)
    floor = eps / (n_answers + 1)
    inside = np.bincount(owner, _kl_terms(p, (1 - eps) * q + floor[owner]), n_sets)
    kl = inside + _kl_terms(p_other, (1 - eps) * q_other + floor)
    variation = (np.bincount(owner, np.abs(p - q), n_sets) + np.abs(p_other - q_other)) / 2
    return np.where(n_answers > 0, kl, np.nan), np.where(n_answers > 0, variation, np.nan)


def _with_others(owner: Ints, masses: Floats, n_sets: int) -> tuple[Floats, Floats]:
    total = np.bincount(owner, masses, n_sets)
    return masses / np.maximum(total, 1.0)[owner], np.maximum(1.0 - total, 0.0)


def _kl_terms(p: Floats, q: Floats) -> Floats:
    relative = np.where(p > 0, ratio(p, q), 1.0)
    return p * np.log(relative)


def best_coverage(p_correct: Floats, k: int) -> float:
    """Expected coverage of the best k answers: the sum of the k largest probabilities of being correct."""
    return float(np.sort(np.asarray(p_correct, float))[::-1][:k].sum())
