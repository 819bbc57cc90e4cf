"""What each slot of a completion adds to its score, the input of every credit that looks into a completion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SlotScores:
    """Scores of N completions, taken apart by slot. Slots that a completion does not have are NaN."""

    total_N: Floats
    """The whole score; NaN when unscored."""
    coverage_NK: Floats
    """What answer i adds to the coverage term."""
    confidence_NK: Floats
    """What confidence i adds to the calibration term; NaN where none is asked for."""
    hits_NK: Floats
