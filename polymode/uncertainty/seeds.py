"""One interval for several seeds of an arm: what varies between questions, and what varies between seeds.

All seeds answer the same questions, so the mean over S seeds has the variance v of one seed's interval, which does not
shrink with S, and that of training, s^2 / S, from the spread of the seeds' values:

    mean +- sqrt(z^2 v + t(S - 1)^2 s^2 / S)

Each variance has the quantile of what it is known from (Banerjee 1960, Sankhya 22:357): at least 95% hold the truth,
whichever of the two is larger. Welch's single t with degrees of freedom from the data holds it in 89% for two seeds, as
it takes two values that agree by chance for certainty. v contains the noise of one seed's samples, and so does s^2: it
is counted in both, and the interval is rather too wide than too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polymode.uncertainty.intervals import t_quantile
from polymode.uncertainty.statistics import Estimate, Limits


class SeedVariance(NamedTuple):
    """What the choice of seeds adds to the variance of a mean over them."""

    variance: float
    df: int

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedVariance:
        """That of the mean of the values; 0 for fewer than two, of which nothing is known."""
        n = len(values)
        return cls(float(np.var(values, ddof=1)) / n, n - 1) if n > 1 else cls(0.0, 0)


def over_seeds(
    estimates: Sequence[Estimate], limits: Limits, seeds: Sequence[SeedVariance] | None = None
) -> tuple[float, float, float]:
    """Mean of the defined values and its interval, which includes the choice of seeds; NaN where undefined.

    Args:
        estimates: of the seeds.
        limits: the interval ends there.
        seeds: by how much the choice of seeds makes the mean vary, a part for each side of a difference; None: as the
            values vary.
    """
    defined = [one for one in estimates if math.isfinite(one.value)]
    if not defined:
        return math.nan, math.nan, math.nan
    values = [one.value for one in defined]
    value = sum(values) / len(values)
    parts = [SeedVariance.of(values)] if seeds is None else seeds
    below = [one.value - one.low for one in defined if math.isfinite(one.low)]
    above = [one.high - one.value for one in defined if math.isfinite(one.high)]
    low, high = (value - _reach(below, parts), value + _reach(above, parts))
    return value, max(low, min(limits[0], value)), min(high, max(limits[1], value))


def _reach(distances: Sequence[float], parts: Sequence[SeedVariance]) -> float:
    """Distance of an interval's end from the mean; NaN without any interval."""
    if not distances:
        return math.nan
    reach = sum(distances) / len(distances)
    between = sum(t_quantile(part.df) ** 2 * part.variance for part in parts if part.df)
    return math.hypot(reach, math.sqrt(between))
