"""What each slot of a completion adds to its score, the input of every credit that looks into a completion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from polymode.errors import RecordError

Floats = NDArray[np.float64]


class Order(IntEnum):
    """Where a completion states its confidences."""

    INTERLEAVED = 0
    """Each behind its answer."""
    BLOCKED = 1
    """All behind all answers."""
    CONFIDENCE_FIRST = 2
    """Each in front of its answer, whose verdict is not fixed when the confidence is sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class SlotScores:
    """Scores of N completions, taken apart by slot. Slots that a completion does not have are NaN."""

    total_N: Floats
    """The whole score; NaN when unscored."""
    coverage_NK: Floats
    """What answer i adds to the coverage term."""
    confidence_NK: Floats
    """What confidence i adds to the calibration term; NaN where none is asked for."""
    labels_NK: Floats
    """What confidence i is scored against: y_i, 1 for a hit and 0 for none, or a soft label in between."""
    if_hit_NK: Floats
    """What confidence i would add if its label were 1; NaN where none is asked for."""
    if_miss_NK: Floats
    """What confidence i would add if its label were 0; NaN where none is asked for."""
    q_NK: Floats
    """Confidence i; NaN where none is stated."""
    order_N: Floats
    """`Order` of each completion."""

    def to_columns(self) -> Floats:
        """All of it as one array of shape (N, 2 + 6 K), for one exchange between processes."""
        by_slot = (self.coverage_NK, self.confidence_NK, self.labels_NK, self.if_hit_NK, self.if_miss_NK, self.q_NK)
        return np.concatenate([self.total_N[:, None], self.order_N[:, None], *by_slot], 1)

    @classmethod
    def from_columns(cls, columns_NX: Floats) -> SlotScores:
        """What `to_columns` wrote, of any number of completions."""
        coverage, confidence, hits, if_hit, if_miss, q = np.split(columns_NX[:, 2:], 6, axis=1)
        return cls(columns_NX[:, 0], coverage, confidence, hits, if_hit, if_miss, q, columns_NX[:, 1])

    def check(self, group: int) -> None:
        """Refuse arrays that do not fit together, or that are not whole groups of ``group`` completions.

        Raises:
            RecordError: one of these.
        """
        n = len(self.total_N)
        shapes = {
            array.shape
            for array in (
                *(self.coverage_NK, self.confidence_NK, self.labels_NK),
                *(self.if_hit_NK, self.if_miss_NK, self.q_NK),
            )
        }
        if self.total_N.ndim != 1 or len(shapes) != 1 or self.labels_NK.ndim != 2 or len(self.labels_NK) != n:
            raise RecordError("slot scores: totals must have shape (N,), what is of single slots shape (N, K)")
        if group < 1 or n % group:
            raise RecordError(f"group = {group!r} does not divide the {n} completions: give those of every question")
