"""The objective "at least one of k completions is right": its value for each completion of a group (layer L2).

Pass@k training (https://arxiv.org/abs/2508.10751) and pass-at-k policy optimisation (https://arxiv.org/abs/2505.15201)
score every subset of k of a group's G completions by its best member and give each completion the mean over the subsets
that it is in. With W wrong ones among G, and C for binomial coefficients::

    value(right) = 1        value(wrong) = 1 - C(W - 1, k - 1) / C(G - 1, k - 1)
    mean of the values over the group  =  R = 1 - C(W, k) / C(G, k)          (the unbiased estimate of pass@k)

Each subset is counted k times in the sum of the values, hence the second line. So a trainer that centres rewards by
their group's mean, as TRL does, needs no change: **given the values as rewards it computes the analytic advantages**.
`polymode train --objective pass@k` does that.

Effect of the centring: R includes the completion itself, and ``value - R = (1 - k / G) (value - R without it)``. The
second factor is the leave-one-out advantage, so the gradient of pass@k is obtained up to a constant::

    E[1/G Σ_g (value_g - R) ∇ log π(completion_g)]  =  (1/k - 1/G) ∇ pass@k

k = 1 is the usual centring, with its (G - 1) / G; at k = G all values are equal and nothing is learned, so k < G.

`union_values` is the same for sets: references found by k completions together, reference by reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.credit import EPSILON
from polymode.errors import ConfigError, RecordError

SCALES = ("none", "group")
"""What advantages are divided by: nothing, or the deviation of the subsets' scores, √(R (1 - R))."""

Rights = ArrayLike | Sequence[float | None] | Sequence[Sequence[float | None]]


def pass_at_k_values(right_PG: Rights, k: int) -> NDArray[np.float64]:
    """Mean, over the subsets of k that a completion is in, of "one of them is right"; in [0, 1].

    Args:
        right_PG: whether each completion is right, shape (P, G), or (G,) for one group. None and NaN are unscored.
        k: completions in a subset.

    Returns:
        Values of the same shape, NaN for an unscored completion, which is in no subset. In a group with at most k
        scored completions there is one subset, so all have its value.

    Raises:
        ConfigError: k below 1.
        RecordError: values other than 0, 1, None and NaN, or another number of axes.
    """
    right, n, wrong = _counted(right_PG, k)
    drawn = np.minimum(k, np.maximum(n, 1))
    return np.where(np.isnan(right), np.nan, np.where(right == 1, 1.0, 1 - _share_without(wrong - 1, n - 1, drawn - 1)))


def pass_at_k_advantages(right_PG: Rights, k: int, *, scale: str = "none") -> NDArray[np.float64]:
    """Values minus the group's estimate of pass@k, optionally divided by the deviation of the subsets' scores.

    ::

        A_g = value_g - R                         scale "none"; sums to 0 over the group
        A_g = (value_g - R) / (√(R (1 - R)) + ε)  scale "group", as published for pass@k training

    Args:
        right_PG: as for `pass_at_k_values`.
        k: completions in a subset, below the size of the group.
        scale: one of `SCALES`.

    Returns:
        Advantages of the same shape; 0 for an unscored completion and in a group with at most k scored ones.

    Raises:
        ConfigError: k below 1 or not below G, or an unknown scale.
        RecordError: see `pass_at_k_values`.
    """
    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r} is not known: use one of {', '.join(SCALES)}")
    right, n, wrong = _counted(right_PG, k)
    if k >= right.shape[-1]:
        raise ConfigError(
            f"k = {k!r} with groups of {right.shape[-1]}: all completions would be worth the same; use a smaller k"
        )
    drawn = np.minimum(k, np.maximum(n, 1))
    estimate = 1 - _share_without(wrong, n, drawn)
    centred = np.where(np.isnan(right), 0.0, pass_at_k_values(right_PG, k) - estimate)
    return centred if scale == "none" else centred / (np.sqrt(estimate * (1 - estimate)) + EPSILON)


def union_values(finds_G_N: ArrayLike, k: int) -> NDArray[np.float64]:
    """Mean, over the subsets of k that a completion is in, of the references found by one of them; shape (G,).

    The sum over references of `pass_at_k_values`, so the statement on centring also holds for "references found by k
    completions together".

    Args:
        finds_G_N: whether completion g found reference n, shape (G, N); rows of NaN are unscored.
        k: completions in a subset.
    """
    finds_G_N = np.asarray(finds_G_N, dtype=np.float64)
    if finds_G_N.ndim != 2:
        raise RecordError(f"finds: shape {finds_G_N.shape} is not allowed; give (completions, references)")
    values_N_G = pass_at_k_values(finds_G_N.T, k)
    unscored_G = np.isnan(finds_G_N).any(axis=1)
    return np.where(unscored_G, np.nan, np.nan_to_num(values_N_G).sum(axis=0))


def _counted(right_PG: Rights, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The labels as numbers, and per group the number of scored and of wrong completions."""
    if k < 1:
        raise ConfigError(f"k = {k!r} is not allowed: use a whole number from 1")
    try:
        right = np.asarray(right_PG, dtype=np.float64)
    except (TypeError, ValueError):
        raise RecordError("right: give true, false or None, every group with the same number of completions") from None
    if right.ndim not in (1, 2):
        raise RecordError(f"right: shape {right.shape} is not allowed; give (groups, completions) or (completions,)")
    if not (np.isnan(right) | (right == 0) | (right == 1)).all():
        raise RecordError("right: only true (1), false (0) and None are allowed; use group_advantages for other scores")
    return right, (~np.isnan(right)).sum(-1, keepdims=True), (right == 0).sum(-1, keepdims=True)


def _share_without(wrong: NDArray[np.int64], n: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """C(wrong, drawn) / C(n, drawn): chance that ``drawn`` of n are all among the wrong ones."""
    step = np.arange(int(drawn.max(initial=0)))
    factors = np.maximum(wrong[..., None] - step, 0) / np.maximum(n[..., None] - step, 1)
    return np.where(step < drawn[..., None], factors, 1.0).prod(-1)
