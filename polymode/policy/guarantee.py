"""What a calibration guarantees, with its evidence (layer L2)."""

from __future__ import annotations

from dataclasses import dataclass

from polymode.errors import ConfigError, number_in, one_of, share_between
from polymode.prompts import MAX_K

DECISIONS = ("answer", "offer_set")
"""Decisions that a guarantee can cover."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The guarantee of one calibration, with its evidence. The guaranteed rate is ``alpha``, not ``bound``.

    It covers questions and completions drawn like the calibration records: the same model, prompt, K, sampling settings
    and mix of questions (`Conditions`), risk ``normal`` or a class that was calibrated by itself. It does not cover a
    single question or any other subset of the questions. Questions that were asked several times count once.
    """

    decision: str
    """The decision it covers: answer or offer_set."""
    statement: str
    """The guarantee, as a sentence."""
    method: str
    """learn-then-test or conformal."""
    alpha: float
    """Guaranteed largest failure rate."""
    delta: float | None
    """Probability, over the draw of the calibration records, that the guarantee fails; conformal: that the full set
    misses more often than ``bound``. None in conformal policies of older versions, whose full set was not tested."""
    threshold: float
    """The chosen threshold."""
    bound: float
    """Upper Clopper-Pearson limit at 1 - delta, never above alpha. learn-then-test: of the failure rate at the
    threshold; conformal: of the failure rate of the full set, from the design part."""
    n: int
    """Records in the test part."""
    n_shown: int
    """Of them, those that get the decision."""
    n_failed: int
    """Of these, those where no answer shown is right."""
    n_design: int = 0
    """Further records, which determined the recalibration and the order of tests; conformal: tested the full set."""
    n_unscored: int = 0
    """Calibration records, of all groups, with an answer that no verifier could judge; it counts as not right."""
    fingerprint: str = ""
    """SHA-256 of the calibration file."""
    date: str = ""
    """Day of the calibration."""
    rules: str = ""
    """Digest of the policy's rules: with other rules the guarantee is void, and such a policy is refused."""
    n_repeats: int | None = None
    """Records, of all groups, that were left out because their question stands under another id too; None where the
    calibration file did not tell questions by their text, so that there may be some."""
    group: str = ""
    """Questions it covers, as ``risk = high``; empty for all, and in the groups of policies of older versions."""

    def __post_init__(self) -> None:
        for name in ("decision", "statement", "method", "fingerprint", "date", "rules", "group"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"guarantee.{name} = {getattr(self, name)!r} is not allowed: give a text")
        for name in ("n", "n_shown", "n_failed", "n_design", "n_unscored"):
            number_in(f"guarantee.{name}", getattr(self, name), 0, whole=True)
        number_in("guarantee.n_repeats", 0 if self.n_repeats is None else self.n_repeats, 0, whole=True)
        one_of("guarantee.decision", self.decision, DECISIONS)
        one_of("guarantee.method", self.method, ("learn-then-test", "conformal"))
        if not self.n_failed <= self.n_shown <= self.n:
            raise ConfigError(
                f"guarantee: n_failed = {self.n_failed}, n_shown = {self.n_shown}, n = {self.n} are not allowed: those "
                "that fail are some of those shown, and these some of the records"
            )
        share_between("guarantee.alpha", self.alpha)
        number_in("guarantee.delta", 0 if self.delta is None else self.delta, 0, 1)
        number_in("guarantee.bound", self.bound, 0, 1)
        number_in("guarantee.threshold", self.threshold, 0, MAX_K)
