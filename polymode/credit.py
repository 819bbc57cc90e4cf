"""From scores to advantages (layer L2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError

SCALES = ("none", "batch", "group")
"""What centred scores may be divided by: nothing, the deviation of the whole batch, the deviation of each group."""

EPSILON = 1e-4
"""Added to the deviation before dividing, as in TRL."""


def group_advantages(
    totals_PG: ArrayLike | Sequence[float | None] | Sequence[Sequence[float | None]],
    *,
    scale: str = "none",
    calibrated: bool = False,
) -> NDArray[np.float64]:
    """Scores minus their group's mean, optionally divided by a standard deviation.

    ::

        A_g = R_g - mean_g R_g                    scale "none"
        A_g = (R_g - mean_g R_g) / (s + ε)        s over all scores ("batch") or over the group's ("group"), n - 1

    Dividing by the group's own deviation makes a rare large Brier penalty no bigger than a frequent small gain, so it
    rewards overconfidence (Bereket & Leskovec, https://arxiv.org/abs/2508.11800); it is refused for calibrated rewards.

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
    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r} is not known: use one of {', '.join(SCALES)}")
    if scale == "group" and calibrated:
        raise ConfigError(
            "scale = 'group' with a calibrated reward: dividing by each group's deviation breaks proper scoring "
            "(arXiv 2508.11800); use 'none' or 'batch'"
        )
    try:
        totals = np.asarray(totals_PG, dtype=np.float64)
    except (TypeError, ValueError):
        raise RecordError("totals: give numbers or None, every group with the same number of completions") from None
    if totals.ndim not in (1, 2):
        raise RecordError(f"totals: shape {totals.shape} is not allowed; give (groups, completions) or (completions,)")
    if np.isinf(totals).any():
        raise RecordError("totals: an infinite score has no advantage; use None for an unscored completion")
    is_scored = ~np.isnan(totals)
    n = is_scored.sum(axis=-1, keepdims=True)
    centred = np.where(is_scored, totals - _sum(totals) / np.maximum(n, 1), 0.0)
    if scale == "batch":
        scored = totals[is_scored]
        return centred / (EPSILON + (scored.std(ddof=1) if len(scored) > 1 else 0.0))
    if scale == "group":
        return centred / (EPSILON + np.sqrt(_sum(centred**2) / np.maximum(n - 1, 1)))
    return centred


def _sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nansum(values, axis=-1, keepdims=True)
