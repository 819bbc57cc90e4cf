"""One advantage for each completion: its score against those of its group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError, one_of

Floats = NDArray[np.float64]

SCALES = ("none", "batch", "group")
"""What centred scores may be divided by: nothing, the deviation of the whole batch, the deviation of each group."""
EPSILON = 1e-4
"""Added to the deviation before dividing, as in TRL."""


def group_advantages(
    totals_PG: ArrayLike | Sequence[float | None] | Sequence[Sequence[float | None]],
    *,
    scale: str = "none",
    calibrated: bool = False,
) -> Floats:
    """Scores minus their group's mean, optionally divided by a standard deviation.

    ::

        A_g = R_g - mean_g R_g                    scale "none"
        A_g = (R_g - mean_g R_g) / (s + ε)        s over all scores ("batch") or over the group's ("group"), n - 1

    The group's own deviation rewards overconfidence (Bereket & Leskovec, https://arxiv.org/abs/2508.11800): it makes a
    rare large Brier penalty no bigger than a frequent small gain. It is refused for calibrated rewards.

    Args:
        totals_PG: scores, shape (P, G), or (G,) for one group. None and NaN are unscored.
        scale: one of `SCALES`.
        calibrated: whether the scores hold a Brier term.

    Returns:
        Advantages of the same shape; 0 for an unscored completion, which is left out of mean and deviation.

    Raises:
        ConfigError: unknown scale, or ``group`` with a calibrated reward.
        RecordError: a score that is infinite or no number, or another number of axes.
    """
    one_of("scale", scale, SCALES)
    if scale == "group" and calibrated:
        raise ConfigError(
            "scale = 'group' with a calibrated reward: dividing by each group's deviation breaks proper scoring "
            "(arXiv 2508.11800); use 'none' or 'batch'"
        )
    try:
        scores_PG = np.asarray(totals_PG, dtype=np.float64)
    except (TypeError, ValueError):
        raise RecordError("totals: give numbers or None, every group with the same number of completions") from None
    if scores_PG.ndim not in (1, 2):
        raise RecordError(
            f"totals: shape {scores_PG.shape} is not allowed; give (groups, completions) or (completions,)"
        )
    if np.isinf(scores_PG).any():
        raise RecordError("totals: an infinite score has no advantage; use None for an unscored completion")
    n_P1 = (~np.isnan(scores_PG)).sum(axis=-1, keepdims=True)
    centred_PG = np.nan_to_num(scores_PG - np.nansum(scores_PG, axis=-1, keepdims=True) / np.maximum(n_P1, 1))
    return centred_PG / divisor_of(scores_PG, centred_PG, scale)


def centred_by_group(
    totals_N: ArrayLike | Sequence[float | None], groups_N: Sequence[Hashable], *, scale: str = "none"
) -> Floats:
    """`group_advantages` of flat scores: ``groups_N`` says which group each belongs to, of any sizes in any order.

    Args:
        totals_N: scores, shape (N,); None and NaN are unscored.
        groups_N: anything hashable for each score, for example the uid of its question.
        scale: ``none`` or ``batch``; the deviation of a group is for rewards without confidences and for equal groups.

    Returns:
        Advantages, shape (N,); 0 for an unscored completion and for one that is alone in its group.

    Raises:
        ConfigError: another scale.
        RecordError: another number of groups than of scores, and as in `group_advantages`.

    >>> centred_by_group([1.0, 0.0, 4.0, None], ["a", "b", "a", "b"])
    array([-1.5,  0. ,  1.5,  0. ])
    """
    one_of("scale", scale, SCALES[:2])
    flat_N = np.asarray(totals_N, dtype=np.float64)
    if flat_N.shape != (len(groups_N),):
        raise RecordError(f"groups: {len(groups_N)} for totals of shape {flat_N.shape}; give one for each completion")
    centred_N = np.zeros_like(flat_N)
    for rows in rows_by_group(groups_N):
        centred_N[rows] = group_advantages(flat_N[rows])
    return centred_N / divisor_of(flat_N, centred_N, scale)


def rows_by_group(groups_N: Iterable[Hashable]) -> list[list[int]]:
    """The places of each group, groups in order of first appearance.

    >>> rows_by_group(["a", "b", "a"])
    [[0, 2], [1]]
    """
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups_N):
        rows.setdefault(group, []).append(row)
    return list(rows.values())


def divisor_of(scores_PG: Floats, centred_PG: Floats, scale: str) -> Floats | float:
    """What ``scale`` divides centred scores by, one number or shape (P, 1): a deviation with n - 1, or 1."""
    is_scored_PG = ~np.isnan(scores_PG)
    if scale == "batch":
        return EPSILON + (scores_PG[is_scored_PG].std(ddof=1) if is_scored_PG.sum() > 1 else 0.0)
    if scale == "group":
        n_P1 = is_scored_PG.sum(axis=-1, keepdims=True)
        return EPSILON + np.sqrt((centred_PG**2).sum(axis=-1, keepdims=True) / np.maximum(n_P1 - 1, 1))
    return 1.0


def shrink_of(total_PG: Floats) -> Floats:
    """(n - 1) / n of each group's n scored completions, shape (P, 1): by what a mean over the group shrinks credit.

    The expected gradient of a score minus its group's mean, the completion itself included, is (n - 1) / n of the
    score's own. Parts of credit that need no such mean are multiplied by it, so that all parts keep their ratio.
    """
    n_P1 = (~np.isnan(total_PG)).sum(1, keepdims=True)
    return (n_P1 - 1) / np.maximum(n_P1, 1)
