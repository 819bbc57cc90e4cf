"""A policy: the thresholds of `decide`, their guarantees, and their JSON form (layer L2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from polymode.errors import ConfigError, number_in, one_of
from polymode.policy.recalibration import Recalibration
from polymode.prompts import MAX_K, check_k

MALFORMED = ("escalate", "abstain")
EQUALITIES = ("text", "exact")


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The guarantee of one calibration, with its evidence. The guaranteed rate is ``alpha``, not ``bound``.

    It covers questions and completions drawn like the calibration records: the same model, prompt, K, sampling settings
    and mix of questions, risk ``normal``. It does not cover a single question or a subset of the questions.
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
    """Probability, over the draw of the calibration records, that the guarantee fails; None when it holds on average
    over that draw."""
    threshold: float
    """The chosen threshold."""
    bound: float
    """learn-then-test: upper Clopper-Pearson limit at 1 - delta of the failure rate at the threshold; conformal:
    (failures + 1) / (n + 1). Never above alpha."""
    n: int
    """Records in the test part."""
    n_shown: int
    """Of them, those that get the decision."""
    n_failed: int
    """Of these, those where no answer shown is right."""
    n_design: int = 0
    """Further records, which determined the recalibration and the order of tests."""
    n_unscored: int = 0
    """Calibration records with an answer that no verifier could judge; it counts as not right."""
    fingerprint: str = ""
    """SHA-256 of the calibration file."""
    date: str = ""
    """Day of the calibration."""
    rules: str = ""
    """Digest of the policy's rules: with other rules the guarantee is void, and such a policy is refused."""

    def __post_init__(self) -> None:
        for name in ("decision", "statement", "method", "fingerprint", "date", "rules"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"guarantee.{name} = {getattr(self, name)!r} is not allowed: give a text")
        for name in ("n", "n_shown", "n_failed", "n_design", "n_unscored"):
            number_in(f"guarantee.{name}", getattr(self, name), 0, whole=True)
        number_in("guarantee.alpha", self.alpha, 0, 1)
        number_in("guarantee.delta", 0 if self.delta is None else self.delta, 0, 1)
        number_in("guarantee.bound", self.bound, 0, 1)
        number_in("guarantee.threshold", self.threshold, 0, MAX_K)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of `decide`, in the order in which they apply. Without thresholds everything is escalated."""

    when_malformed: str = "escalate"
    """Decision on a completion that cannot be used: escalate or abstain."""
    abstain_below: float = 0.0
    """ABSTAIN when the mass of all answers is below this, 0 to MAX_K."""
    max_effective: float | None = None
    """ESCALATE when the confidences are spread over more answers than this, exp(entropy) from 1; None: no such rule."""
    answer_at: float | None = None
    """ANSWER when the most confident answer reaches this confidence, 0 to 1; None: never."""
    offer_at: float | None = None
    """OFFER_SET of the fewest answers, most confident first, whose mass reaches this, 0 to MAX_K; None: never."""
    offer_all: bool = False
    """Offer all answers, instead of escalating, when their mass does not reach ``offer_at``."""
    equality: str = "text"
    """Which answers count as the same: text (normalised, as `TextVerifier`) or exact."""
    recalibration: Recalibration | None = None
    """Applied to every confidence before anything is compared."""
    k: int | None = None
    """Answers requested in the calibration; answer sets of another K are refused. None: any K."""
    guarantees: tuple[Guarantee, ...] = ()
    """Guarantees of the calibration; empty for thresholds set by hand."""

    def __post_init__(self) -> None:
        one_of("when_malformed", self.when_malformed, MALFORMED)
        one_of("equality", self.equality, EQUALITIES)
        if not isinstance(self.offer_all, bool):
            raise ConfigError(f"offer_all = {self.offer_all!r} is not allowed: give true or false")
        limits = [
            ("abstain_below", 0, MAX_K),
            ("max_effective", 1, math.inf),
            ("answer_at", 0, 1),
            ("offer_at", 0, MAX_K),
        ]
        for name, low, high in limits:
            value = getattr(self, name)
            if value is not None or name == "abstain_below":
                # One type for 1 and 1.0, so that the digest of the rules survives a round trip through JSON.
                object.__setattr__(self, name, float(number_in(name, value, low, high)))
        if self.k is not None:
            check_k(self.k)
        rules = self.digest() if self.guarantees else ""
        if any(guarantee.rules != rules for guarantee in self.guarantees):
            raise ConfigError(
                "guarantees: they were given for other rules than these, so they do not hold: calibrate again, or "
                "leave guarantees out"
            )

    def digest(self) -> str:
        """Short hash of the rules, without the guarantees."""
        rules = {name: value for name, value in self.to_json().items() if name != "guarantees"}
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:16]

    def with_guarantees(self, *guarantees: Guarantee) -> Policy:
        """This policy with these guarantees, each bound to its rules."""
        digest = self.digest()
        return replace(self, guarantees=tuple(replace(guarantee, rules=digest) for guarantee in guarantees))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` reads them back unchanged."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    @staticmethod
    def from_json(row: object) -> Policy:
        """The policy of a JSON object; missing fields have their defaults.

        Raises:
            ConfigError: not an object, an unknown field, a value that is not allowed, a guarantee for other rules.
        """
        values = _checked(row, Policy, "policy")
        if values.get("recalibration") is not None:
            values["recalibration"] = _recalibration(values["recalibration"])
        listed = values.get("guarantees", [])
        if not isinstance(listed, list):
            raise ConfigError("guarantees: a list is needed")
        values["guarantees"] = tuple(Guarantee(**_checked(item, Guarantee, "guarantee", whole=True)) for item in listed)
        return Policy(**values)


def _recalibration(row: object) -> Recalibration:
    values = _checked(row, Recalibration, "recalibration", whole=True)
    points = values["points"]
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ConfigError("recalibration.points: a list of pairs of numbers is needed")
    return Recalibration(**{**values, "points": tuple((x, r) for x, r in points)})


def _checked(row: object, kind: type[Any], where: str, *, whole: bool = False) -> dict[str, Any]:
    """The fields of a JSON object, none unknown and, with ``whole``, none missing."""
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}: a JSON object is needed, got {type(row).__name__}")
    names = [field.name for field in fields(kind)]
    for name in row:
        if name not in names:
            raise ConfigError(f"{where}: unknown field {name!r}; known: {', '.join(names)}")
    missing = [name for name in names if name not in row]
    if whole and missing:
        raise ConfigError(f"{where}: {missing[0]} is missing; calibrate again")
    return dict(row)
