"""Increasing maps from stated to recalibrated confidences (layer L2); fitted in ``maps.py``."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from polymode.errors import ConfigError, number_in, one_of

METHODS = ("isotonic", "platt", "temperature")
LOGIT_EPS = 0.001
"""Confidences are clipped to [LOGIT_EPS, 1 - LOGIT_EPS] before their logit is taken."""


@dataclass(frozen=True, slots=True)
class Recalibration:
    """An increasing map of [0, 1] into itself, so it never changes which of two answers ranks first.

    temperature: r = sigmoid(logit(q) / T), stored as slope = 1 / T. platt: r = sigmoid(slope logit(q) + intercept).
    isotonic: linear between ``points``, constant beyond the first and the last.
    """

    method: str
    """isotonic, platt or temperature."""
    n: int
    """Answers it was fitted to."""
    slope: float = 1.0
    """Of the logit, above 0; 1 for isotonic."""
    intercept: float = 0.0
    """Added to the logit; 0 for temperature and isotonic."""
    points: tuple[tuple[float, float], ...] = ()
    """Isotonic: (stated, recalibrated), both in [0, 1], stated rising, recalibrated not falling."""

    def __post_init__(self) -> None:
        one_of("recalibration.method", self.method, METHODS)
        number_in("recalibration.n", self.n, 0, whole=True)
        if not (_is_number(self.slope) and 0 < self.slope < math.inf):
            raise ConfigError(f"recalibration.slope = {self.slope!r} is not allowed: give a number above 0")
        if not (_is_number(self.intercept) and math.isfinite(self.intercept)):
            raise ConfigError(f"recalibration.intercept = {self.intercept!r} is not allowed: give a number")
        if (self.method == "isotonic") != bool(self.points):
            raise ConfigError("recalibration.points: isotonic needs at least one, the other methods have none")
        flat = [value for point in self.points for value in point]
        if not all(_is_number(value) and 0 <= value <= 1 for value in flat):
            raise ConfigError("recalibration.points: every number must lie between 0 and 1")
        pairs = zip(self.points, self.points[1:], strict=False)
        if any(x >= x_next or r > r_next for (x, r), (x_next, r_next) in pairs):
            raise ConfigError("recalibration.points: stated values must rise and recalibrated ones must not fall")

    def __call__(self, q: float) -> float:
        """The recalibrated confidence of a stated one."""
        if self.method != "isotonic":
            x = self.slope * logit(q) + self.intercept
            small = math.exp(-abs(x))  # never above 1: a steep map of a confidence near 0 must not overflow
            return (1 if x >= 0 else small) / (1 + small)
        after = bisect_right(self.points, (q, math.inf))
        if after == 0:
            return self.points[0][1]
        (x, r) = self.points[after - 1]
        if after == len(self.points):
            return r
        (x_next, r_next) = self.points[after]
        return min(r_next, r + (r_next - r) * ((q - x) / (x_next - x)))


def logit(q: float) -> float:
    """log(q' / (1 - q')), q' = q clipped to [LOGIT_EPS, 1 - LOGIT_EPS]."""
    clipped = min(max(q, LOGIT_EPS), 1 - LOGIT_EPS)
    return math.log(clipped / (1 - clipped))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
