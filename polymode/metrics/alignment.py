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

from polymode.metrics.table import Floats

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


def best_coverage(p_correct: Floats, k: int) -> float:
    """Expected coverage of the best k answers: the sum of the k largest probabilities of being correct."""
    return float(np.sort(np.asarray(p_correct, float))[::-1][:k].sum())
