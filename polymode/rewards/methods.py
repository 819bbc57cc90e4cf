"""The four methods by name."""

from __future__ import annotations

from dataclasses import dataclass

from polymode.errors import ConfigError
from polymode.rewards.reward import PRESETS, Reward, one_of


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

    def reward(self, preset: str = "paper") -> Reward:
        """The preset's reward for this method.

        Raises:
            ConfigError: unknown preset.
        """
        one_of("preset", preset, PRESETS)
        if preset == "released":
            return Reward(0.5, 0.5 if self.has_confidence else 0.0, 0.5, preset="released")
        return Reward(brier=1.0 if self.has_confidence else 0.0)


METHODS: dict[str, Method] = {
    "single-rlvr": Method("single-rlvr", is_multi=False, has_confidence=False),
    "single-rlcr": Method("single-rlcr", is_multi=False, has_confidence=True),
    "multi-rlvr": Method("multi-rlvr", is_multi=True, has_confidence=False),
    "multi-rlcr": Method("multi-rlcr", is_multi=True, has_confidence=True),
}
"""The four methods by name."""


def find_method(name: str) -> Method:
    """The method called ``name``; raises ConfigError listing the known ones."""
    try:
        return METHODS[name]
    except (KeyError, TypeError):
        raise ConfigError(f"method = {name!r} is not known: use one of {', '.join(METHODS)}") from None
