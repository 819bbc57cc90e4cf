"""The four methods by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polymode.errors import ConfigError, one_of
from polymode.rewards.reward import PRESETS, Reward, least_format


@dataclass(frozen=True, slots=True)
class Method:
    """One of the four ways to train."""

    name: str
    is_multi: bool
    """Whether one completion holds K answers; a single method asks for one."""
    has_confidence: bool
    """Whether answers carry confidences, and the reward a Brier term: the calibrated methods."""

    def answers(self, k: int) -> int:
        """Answers in one completion: K for a multi method, else 1."""
        return k if self.is_multi else 1

    def reward(self, preset: str = "paper", *, k: int = 1, **options: Any) -> Reward:
        """The reward of this method: the preset, or preset ``paper`` with some options of `Reward` changed.

        The format's weight rises with what a clean set of ``k`` answers can lose, so malformed text stays lowest.

        Raises:
            ConfigError: an unknown preset, options beside ``released``, or options of confidences without confidences.
        """
        one_of("preset", preset, PRESETS)
        if preset == "released":
            for name, value in options.items():
                raise ConfigError(f"{name} = {value!r} with preset = 'released': its formulas are fixed; use 'paper'")
            half = 0.5 if self.has_confidence else 0.0
            return Reward(coverage_weight=0.5, confidence_weight=half, format_weight=0.5, preset="released")
        if not self.has_confidence:
            for name in options.keys() & {"confidence_score", "confidence_weight", "confidences", "exclusive_penalty"}:
                raise ConfigError(
                    f"{name} = {options[name]!r} with method = {self.name!r}: its answers carry no confidences; use "
                    "single-rlcr or multi-rlcr"
                )
            options["confidence_weight"] = 0.0
        return Reward(**options, format_weight=max(1.0, least_format(k, **options)))


METHODS: dict[str, Method] = {
    "single-rlvr": Method("single-rlvr", is_multi=False, has_confidence=False),
    "single-rlcr": Method("single-rlcr", is_multi=False, has_confidence=True),
    "multi-rlvr": Method("multi-rlvr", is_multi=True, has_confidence=False),
    "multi-rlcr": Method("multi-rlcr", is_multi=True, has_confidence=True),
}
"""The four methods by name."""


def find_method(name: str) -> Method:
    """The method called ``name``; raises ConfigError for an unknown one."""
    one_of("method", name, tuple(METHODS))
    return METHODS[name]
