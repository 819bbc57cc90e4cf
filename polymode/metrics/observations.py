"""Checks of the arrays that a caller of `polymode.metrics` passes in; what the package computes itself skips them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from polymode.errors import ConfigError, RecordError
from polymode.metrics.table import Floats

ROUNDING = 1e-9
"""A sum of probabilities may miss its limit by this much."""


def floats(name: str, values: ArrayLike, low: float = -np.inf, high: float = np.inf) -> Floats:
    """The values as a float array; NaN is allowed everywhere and means "not known".

    Raises:
        RecordError: not numbers, or numbers outside low..high.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise RecordError(
            f"{name}: {values!r:.60} are not numbers in an array; give one number for each item"
        ) from None
    outside = array[(array < low - ROUNDING) | (array > high + ROUNDING)]
    if outside.size:
        raise RecordError(f"{name}: {outside[0]:g} is not allowed; give numbers from {low:g} to {high:g}")
    return array


def observations(q_N: ArrayLike, y_N: ArrayLike) -> tuple[Floats, Floats]:
    """Confidences and labels without the pairs in which one is NaN, both (n,).

    Raises:
        RecordError: confidences outside [0, 1], labels other than 0 and 1, or arrays that do not belong together.
    """
    q, y = floats("q", q_N, 0, 1), floats("y", y_N, 0, 1)
    if q.shape != y.shape or q.ndim != 1:
        raise RecordError(f"q and y: shapes {q.shape} and {y.shape}; give one label for each confidence, both flat")
    is_known = ~(np.isnan(q) | np.isnan(y))
    q, y = q[is_known], y[is_known]
    if not np.all((y == 0) | (y == 1)):
        raise RecordError(
            f"y: {y[(y != 0) & (y != 1)][0]:g} is not a label; give 1 for a right answer, 0 for a wrong one"
        )
    return q, y


def check_count(name: str, value: object) -> None:
    """Refuse a number of bins, answers or completions that is not a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name} = {value!r} is not allowed: use a whole number from 1")
