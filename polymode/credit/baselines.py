"""Baselines that move no expected gradient, because what they are made of is fixed before a token is sampled.

The score function of a token has mean 0 given the text before it, so that anything may be subtracted from its
advantage that depends on (a) other completions, or (b) what the same completion fixed earlier. A coefficient that is
fitted on the completion itself is neither; it is fitted on the *other* groups here, so the expectation is exact and not
only right for many completions. A mean that holds the completion itself shrinks its gradient by (n - 1) / n; a mean of
the others does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PRIOR = 1.0
"""Weight, in completions, of what is assumed before anything is fitted: slopes of 0, no difference between verdicts."""


def against_others(values_NX: Floats, mask_NX: Mask, group: int) -> Floats:
    """Values minus the mean of the *other* completions of the group in the mask; 0 outside the mask."""
    n, width = values_NX.shape
    masked_PGX = np.where(mask_NX, values_NX, 0.0).reshape(-1, group, width)
    n_PGX = mask_NX.reshape(-1, group, width)
    others_PGX = (masked_PGX.sum(1, keepdims=True) - masked_PGX) / np.maximum(n_PGX.sum(1, keepdims=True) - n_PGX, 1)
    return np.where(mask_NX, values_NX - others_PGX.reshape(n, width), 0.0)


def without_past(future_NK: Floats, past: Sequence[Floats], mask_NK: Mask, group: int) -> Floats:
    """``future_NK`` against the others of its group, minus what the past says about it, by slot.

    ::

        A = F' - β·X'        F', X': `against_others`;  β = (Σ X' X'ᵀ + PRIOR I)⁻¹ Σ X' F' over the other groups

    Args:
        future_NK: what is still to come at each slot.
        past: one array or several, shape (N, K): what is fixed by then (X).
        mask_NK: which slots are there.
        group: completions of a question, which are next to each other.

    Returns:
        Shape (N, K), 0 outside the mask. With a single group β is 0.
    """
    n, k = future_NK.shape
    future_PGK = against_others(future_NK, mask_NK, group).reshape(-1, group, k)
    past_PGKD = np.stack([against_others(x_NK, mask_NK, group) for x_NK in past], -1).reshape(-1, group, k, len(past))
    gram_PKDD = np.einsum("pgkd,pgke->pkde", past_PGKD, past_PGKD)
    moments_PKD = np.einsum("pgkd,pgk->pkd", past_PGKD, future_PGK)
    gram_PKDD = gram_PKDD.sum(0) - gram_PKDD + PRIOR * np.eye(len(past))
    moments_PKD = moments_PKD.sum(0) - moments_PKD
    beta_PKD = cast(Floats, np.linalg.solve(gram_PKDD, moments_PKD[..., None]))[..., 0]
    return (future_PGK - np.einsum("pgkd,pkd->pgk", past_PGKD, beta_PKD)).reshape(n, k)


def same_verdict_mean(if_hit_NK: Floats, if_miss_NK: Floats, labels_NK: Floats, mask_NK: Mask) -> Floats:
    """What the confidences of the *other* completions of the batch would score under this completion's verdict.

    ::

        b = (Σ_j w_j S(q_j, y) + PRIOR mean_j S(q_j, y)) / (Σ_j w_j + PRIOR),     w_j = 1 where y_j = y, else 0

    The others of the same verdict count most, because their confidences are those of similar answers. All others count
    as one more, so a verdict that is alone in its batch has a baseline too: rare errors are learnt from. It holds no
    q of the completion itself. Labels between 0 and 1 have w_j = y y_j + (1 - y)(1 - y_j).
    """
    y_NK, not_y_NK = np.where(mask_NK, labels_NK, 0.0), np.where(mask_NK, 1 - labels_NK, 0.0)
    hit_NK, miss_NK = (np.where(mask_NK, np.nan_to_num(x_NK), 0.0) for x_NK in (if_hit_NK, if_miss_NK))

    def of_others(x_NK: Floats) -> Floats:
        return x_NK.sum(0) - x_NK

    def same(x_NK: Floats) -> Floats:
        return y_NK * of_others(y_NK * x_NK) + not_y_NK * of_others(not_y_NK * x_NK)

    def under_verdict(of_hit_NK: Floats, of_miss_NK: Floats) -> Floats:
        return y_NK * of_hit_NK + not_y_NK * of_miss_NK

    ones_NK = mask_NK.astype(np.float64)
    mean_NK = under_verdict(of_others(hit_NK), of_others(miss_NK)) / np.maximum(of_others(ones_NK), 1)
    return (under_verdict(same(hit_NK), same(miss_NK)) + PRIOR * mean_NK) / (same(ones_NK) + PRIOR)
