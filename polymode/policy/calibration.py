"""The request for a policy: what is promised, how often it may fail, and what differs between groups (layer L2)."""

from __future__ import annotations

from dataclasses import dataclass

from polymode.errors import one_of, share_between
from polymode.policy.recalibration import METHODS

TARGETS = ("answer", "set", "both", "conformal")
CORRECTIONS = ("bonferroni", "fixed-sequence")


@dataclass(frozen=True, slots=True)
class Calibration:
    """The request to `fit_policy`."""

    target: str = "set"
    """What the guarantee is about: answer, set, both or conformal."""
    alpha: float = 0.1
    """Largest tolerated share of failures."""
    delta: float = 0.05
    """Largest probability that some guarantee is untrue because the calibration records were unrepresentative."""
    recalibrate: str = "none"
    """How confidences are recalibrated first, to match how often answers are right: none, isotonic, platt or
    temperature."""
    design_share: float = 0.3
    """Share of the records that recalibration and the order of the tests are fitted on; the rest is for testing."""
    seed: int = 0
    """Random seed of the split into the two parts."""
    alpha_answer: float | None = None
    """Largest tolerated share of wrong single answers; by default alpha."""
    alpha_set: float | None = None
    """Largest tolerated share of sets without a right answer; by default alpha."""
    correction: str = "bonferroni"
    """How several guarantees share delta: bonferroni (equal parts) or fixed-sequence (one after the other)."""

    def __post_init__(self) -> None:
        one_of("target", self.target, TARGETS)
        one_of("recalibrate", self.recalibrate, ("none", *METHODS))
        one_of("correction", self.correction, CORRECTIONS)
        for name in ("alpha", "alpha_answer", "alpha_set", "delta", "design_share"):
            value = getattr(self, name)
            if value is None and name.startswith("alpha_"):
                continue
            share_between(name, value)

    @property
    def decisions(self) -> tuple[str, ...]:
        """What is tested: a guarantee each."""
        return {"answer": ("answer",), "both": ("answer", "offer_set")}.get(self.target, ("offer_set",))

    def alpha_of(self, decision: str) -> float:
        """The tolerated share of failures of a decision."""
        own = self.alpha_answer if decision == "answer" else self.alpha_set
        return self.alpha if own is None else own
