"""What each term of a score weighs, as a flat record, and which combinations are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polymode.errors import ConfigError

PRESETS = ("paper", "released")
CONFIDENCES = ("independent", "exclusive")


@dataclass(frozen=True, slots=True)
class Reward:
    """What each term weighs. A weight of 0 leaves the term out."""

    coverage: float = 1.0
    """Weight of each distinct reference found (`released`: of having any answer right)."""
    brier: float = 1.0
    """Weight of the mean squared error of the confidences; 0 for formats without confidences."""
    format: float = 1.0
    """Weight of following the format; at least ``brier`` in preset `paper`, so that no clean set scores below 0."""
    preset: Literal["paper", "released"] = "paper"
    """Which formulas."""
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`: at most one answer can be right, so confidences that sum above 1 are penalised."""
    penalty: float = 1.0
    """`exclusive` only: weight of max(0, Σ q - 1 - tolerance); the penalty never takes a clean set below 0."""
    tolerance: float = 0.01
    """`exclusive` only: excess of Σ q over 1 that costs nothing, so that rounding is never punished."""

    def __post_init__(self) -> None:
        """Refuse weights that would make malformed text worth more than an answer."""
        for name in ("coverage", "brier", "format", "penalty", "tolerance"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigError(f"reward.{name} = {value!r} is not allowed: use a finite number, at least 0")
        one_of("preset", self.preset, PRESETS)
        one_of("confidences", self.confidences, CONFIDENCES)
        if self.preset == "paper" and self.format < self.brier:
            raise ConfigError(
                f"reward.format = {self.format!r} is below reward.brier = {self.brier!r}: a malformed completion (0) "
                "would then score above an honest wrong answer; raise format or lower brier"
            )
        if self.preset == "released" and self.confidences == "exclusive":
            raise ConfigError(
                "reward.confidences = 'exclusive' with preset 'released': it has its own gate; leave it out"
            )


def one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed ones."""
    if value not in allowed:
        raise ConfigError(f"reward.{name} = {value!r} is not known: use one of {', '.join(allowed)}")
