"""What each term of a score weighs, as a flat record, and which combinations are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polymode.errors import ConfigError
from polymode.rewards.coverage import AGGREGATIONS
from polymode.rewards.proper import SCORES

PRESETS = ("paper", "released")
CONFIDENCES = ("independent", "exclusive")


@dataclass(frozen=True, slots=True)
class Reward:
    """What each term weighs. A weight of 0 leaves the term out."""

    coverage: float = 1.0
    """Weight of the value of the references found; of each of them unless ``aggregation`` says otherwise (`released`:
    of having any answer right)."""
    brier: float = 1.0
    """Weight of the mean squared error of the confidences, or of what ``score`` names; 0 for formats without
    confidences."""
    format: float = 1.0
    """Weight of following the format; at least ``brier`` (and ``repeat`` for each repeat that is possible) in preset
    `paper`, so that no clean set scores below 0."""
    preset: Literal["paper", "released"] = "paper"
    """Which formulas."""
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`: at most one answer can be right, so confidences that sum above 1 are penalised."""
    penalty: float = 1.0
    """`exclusive` only: weight of max(0, Σ q - 1 - tolerance); the penalty never takes a clean set below 0."""
    tolerance: float = 0.01
    """`exclusive` only: excess of Σ q over 1 that costs nothing, so that rounding is never punished."""
    aggregation: Literal["count", "any", "count/K", "count/N", "vector"] = "count"
    """How references found make the coverage term: formulas in `polymode.rewards.coverage`, and when right answers
    still pay beside a calibration term in `polymode.rewards.conditions`."""
    alpha: float = 1.0
    """`vector` only: concentration of the references' random weights."""
    score: Literal["brier", "log", "spherical", "other"] = "brier"
    """Proper score of the confidences: formulas in `polymode.rewards.proper`. `other` needs `exclusive`."""
    repeat: float = 0.0
    """Weight of each answer that repeats an earlier one of its set."""

    def __post_init__(self) -> None:
        """Refuse weights that would make malformed text worth more than an answer."""
        for name in ("coverage", "brier", "format", "penalty", "tolerance", "alpha", "repeat"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigError(f"reward.{name} = {value!r} is not allowed: use a finite number, at least 0")
        one_of("preset", self.preset, PRESETS)
        one_of("confidences", self.confidences, CONFIDENCES)
        one_of("aggregation", self.aggregation, AGGREGATIONS)
        one_of("score", self.score, SCORES)
        if self.preset == "paper" and self.format < self.brier:
            raise ConfigError(
                f"reward.format = {self.format!r} is below reward.brier = {self.brier!r}: a malformed completion (0) "
                "would then score above an honest wrong answer; raise format or lower brier"
            )
        if self.preset == "released" and self.confidences == "exclusive":
            raise ConfigError(
                "reward.confidences = 'exclusive' with preset 'released': it has its own gate; leave it out"
            )
        for name, plain in (("aggregation", "count"), ("score", "brier"), ("repeat", 0)):
            if self.preset == "released" and getattr(self, name) != plain:
                raise ConfigError(
                    f"reward.{name} = {getattr(self, name)!r} with preset 'released': its formulas are fixed; leave it "
                    "out, or use preset 'paper'"
                )
        if not self.alpha > 0:
            raise ConfigError(f"reward.alpha = {self.alpha!r} is not allowed: use a number above 0; 1 is uniform")
        if self.score == "other" and self.confidences != "exclusive":
            raise ConfigError(
                "reward.score = 'other' with reward.confidences = 'independent': one probability for \"none of these\" "
                "makes sense where at most one answer can be right; use confidences = 'exclusive', or score = 'log'"
            )

    @property
    def term_names(self) -> list[str]:
        """Names of the terms that have a weight, in their order; the calibration term is called like its score."""
        weights = {"coverage": self.coverage, self.score: self.brier, "format": self.format, "repeat": self.repeat}
        names = [name for name, weight in weights.items() if weight]
        return [*names, "exclusive"] if self.confidences == "exclusive" and self.penalty else names

    def least_format(self, k: int) -> float:
        """Least format weight with which no clean set of k answers scores below 0, that is below malformed text."""
        return self.brier + self.repeat * (k - 1)


def one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed ones."""
    if value not in allowed:
        raise ConfigError(f"reward.{name} = {value!r} is not known: use one of {', '.join(allowed)}")
