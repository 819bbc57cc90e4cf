"""What each term of a score weighs, under the names that recipes use, and which combinations are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polymode.errors import ConfigError, one_of
from polymode.rewards.coverage import AGGREGATIONS
from polymode.rewards.proper import SCORES, check_proper

PRESETS = ("paper", "released")
CONFIDENCES = ("independent", "exclusive")


@dataclass(frozen=True, slots=True)
class Reward:
    """The formulas of the terms and their weights. A weight of 0 leaves the term out."""

    coverage: Literal["count", "any", "count/K", "count/N", "vector"] = "count"
    """How the references found make the coverage term: formulas in `polymode.rewards.coverage`."""
    coverage_weight: float = 1.0
    """Weight of the coverage term (`released`: of having any answer right)."""
    coverage_alpha: float = 1.0
    """`vector` only: concentration of the references' random weights."""
    confidence_score: str = "brier"
    """Proper score of the confidences: formulas in `polymode.rewards.proper`. `other` needs `exclusive`."""
    confidence_weight: float = 1.0
    """Weight of the proper score; 0 for formats without confidences."""
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`: at most one answer can be right, so confidences that sum above 1 are penalised."""
    exclusive_penalty: float = 1.0
    """`exclusive` only: weight of max(0, Σ q - 1 - tolerance); the penalty never takes a clean set below 0."""
    tolerance: float = 0.01
    """`exclusive` only: excess of Σ q over 1 that costs nothing, so that rounding is never punished."""
    repeat_penalty: float = 0.0
    """Weight of each answer that repeats an earlier one of its set."""
    format_weight: float = 1.0
    """Weight of following the format; in preset `paper` so large that no clean set scores below malformed text (0)."""
    terms: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """Terms of one's own: ``module:Name`` and weight (`polymode.rewards.own_terms`)."""
    preset: Literal["paper", "released"] = "paper"
    """Which formulas."""

    def __post_init__(self) -> None:
        """Refuse weights that would make malformed text worth more than an answer."""
        for name, allowed in (("preset", PRESETS), ("coverage", AGGREGATIONS), ("confidences", CONFIDENCES)):
            one_of(name, getattr(self, name), allowed)
        SCORES.load(self.confidence_score)
        if self.confidence_score != "other":
            check_proper(self.confidence_score)
        weights = ("coverage_weight", "confidence_weight", "exclusive_penalty", "repeat_penalty", "format_weight")
        for name in (*weights, "coverage_alpha", "tolerance"):
            if not _is_finite(value := getattr(self, name)) or value < 0:
                raise ConfigError(f"{name} = {value!r} is not allowed: use a finite number, at least 0")
        for name, weight in self.terms.items():
            if not _is_finite(weight):
                raise ConfigError(f"terms: the weight of {name!r} is {weight!r}: use a finite number")
        if self.coverage_alpha == 0:
            raise ConfigError(
                f"coverage_alpha = {self.coverage_alpha!r} must be above 0; 1 draws the weights of references uniformly"
            )
        if self.preset == "released":
            for name in ("coverage", "confidence_score", "confidences", "repeat_penalty", "terms"):
                _check_default(self, name, "with preset 'released': its formulas are fixed; use preset 'paper'")
            return
        if self.coverage != "vector":
            _check_default(self, "coverage_alpha", "is given without coverage: add coverage: vector")
        if self.confidences != "exclusive":
            _check_default(self, "exclusive_penalty", "is given without confidences: add confidences: exclusive")
            if self.confidence_score == "other":
                raise ConfigError(
                    "confidence_score = 'other' with confidences = 'independent': one probability for \"none of "
                    'these" makes sense where at most one answer can be right; add confidences: exclusive'
                )
        self.check_format(1)

    def check_format(self, k: int) -> None:
        """Refuse a format weight with which a clean set of k answers could score below malformed text."""
        least = least_format(k, self.confidence_weight, self.repeat_penalty, self.terms)
        if self.format_weight < least:
            raise ConfigError(
                f"format_weight = {self.format_weight!r} with confidence_weight = {self.confidence_weight!r}, "
                f"repeat_penalty = {self.repeat_penalty!r} and terms = {dict(self.terms)!r}: a clean set of {k} "
                f"answer{'s' if k != 1 else ''} could score below malformed text (0); raise format_weight to {least:g}"
            )


def _check_default(reward: Reward, name: str, problem: str) -> None:
    value = getattr(reward, name)
    if value != ({} if name == "terms" else Reward.__dataclass_fields__[name].default):
        raise ConfigError(f"{name} = {value!r} {problem}")


def least_format(
    k: int,
    confidence_weight: float = 1.0,
    repeat_penalty: float = 0.0,
    terms: Mapping[str, float] | None = None,
    **_: object,
) -> float:
    """Least format weight with which no clean set of k answers scores below 0, from the options of `Reward`."""
    own = math.fsum(map(abs, (terms or {}).values()))  # an own term takes at most its weight
    return confidence_weight + repeat_penalty * (k - 1) + own


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
