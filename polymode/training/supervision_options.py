"""Options of supervised training of confidences; read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from polymode.errors import ConfigError, number_in


@dataclass(frozen=True, kw_only=True)
class ConfidenceSupervision:
    """Options of the ceiling."""

    questions: int = 6000
    """Training questions, one completion each."""
    check: int = 600
    """Validation questions that choose among learning rates and steps."""
    steps: int = 300
    """Optimiser steps of each learning rate."""
    batch: int = 64
    """Completions a step."""
    device_batch: int = 64
    """Completions in one forward and backward pass."""
    learning_rates: tuple[float, ...] = (5e-4, 1.5e-3)
    """Peak rates to choose from; each rises over 5% of the steps, then falls linearly to zero."""
    anchor: float = 1.0
    """Weight of the cross-entropy of all other tokens; a small one lets the answers drift away (docs/results.md)."""
    checks: int = 6
    """How often each is checked on the way."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range, in one line that names the field."""
        for name in ("questions", "check", "steps", "batch", "device_batch", "checks"):
            number_in(name, getattr(self, name), 1, whole=True)
        for rate in self.learning_rates:
            number_in("learning_rates", rate, 0)
        number_in("anchor", self.anchor, 0)
        if not self.learning_rates:
            raise ConfigError("learning_rates is empty: name at least one")
        if self.batch % self.device_batch:
            raise ConfigError(f"device_batch = {self.device_batch} must divide batch = {self.batch}")
