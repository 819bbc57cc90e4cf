"""A policy: the thresholds of `decide`, their guarantees, and their JSON form (layer L2)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from polymode.errors import ConfigError, number_in, one_of
from polymode.policy.conditions import Conditions
from polymode.policy.guarantee import Guarantee
from polymode.policy.inputs import InputCheck
from polymode.policy.json_fields import checked_fields
from polymode.policy.recalibration import Recalibration
from polymode.prompts import MAX_K, check_k

MALFORMED = ("escalate", "abstain")
EQUALITIES = ("text", "exact")
RISK = "risk"
"""Name of the field by which questions are told apart by their risk."""
RISKS = ("normal", "high")
"""Classes of risk that a policy without classes of its own knows."""
DIGITS = 8
"""Hexadecimal digits by which a policy knows a calibration question: one in 4 billion others has the same."""
MAX_NAME = 100
"""Longest name of a group."""


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
    by: str = ""
    """Field by which questions are told apart: ``risk``, or one of their ``meta``; empty: one policy for all."""
    groups: Mapping[str, Policy] = field(default_factory=dict)
    """Rules, thresholds and guarantees of the questions with each value of ``by``; the policy's own are not used."""
    note: str = ""
    """What the calibration could not promise, and why."""
    conditions: Conditions | None = None
    """What the guarantees were fitted on; they hold for nothing else. None where that is not known."""
    questions: str = ""
    """Beginnings of the digests of the calibration questions, `DIGITS` each, in a row: labels of these are no new
    evidence (`polymode calibrate --check`). Empty where that is not known."""

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
        for name in ("by", "note"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} = {getattr(self, name)!r} is not allowed: give a text")
        if not isinstance(self.questions, str) or not re.fullmatch(rf"([0-9a-f]{{{DIGITS}}})*", self.questions):
            raise ConfigError(
                f"questions: {self.questions!r:.40} is not allowed: give {DIGITS} digits of each, or none"
            )
        self._check_groups()
        rules = self.digest() if self.guarantees else ""
        if any(guarantee.rules != rules for guarantee in self.guarantees):
            raise ConfigError(
                "guarantees: they were given for other rules than these, so they do not hold: calibrate again, or "
                "leave guarantees out"
            )
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        """Each guarantee is about the threshold of its decision, and each decision has at most one."""
        decisions = [guarantee.decision for guarantee in self.guarantees]
        if len(set(decisions)) < len(decisions):
            raise ConfigError(f"guarantees: {decisions[0]} has several: one for each decision is allowed")
        for guarantee in self.guarantees:
            name = {"answer": "answer_at", "offer_set": "offer_at"}[guarantee.decision]
            if getattr(self, name) != guarantee.threshold:
                raise ConfigError(
                    f"guarantees: {guarantee.decision} is promised for the threshold {guarantee.threshold!r}, and "
                    f"{name} = {getattr(self, name)!r}: calibrate again, or leave guarantees out"
                )

    def _check_groups(self) -> None:
        if bool(self.by) != bool(self.groups):
            raise ConfigError("by, groups: give both or neither, the field and the policy of each of its values")
        own = (self.answer_at, self.offer_at, self.recalibration, self.offer_all or None)
        if self.groups and (self.guarantees or any(value is not None for value in own)):
            raise ConfigError("groups: thresholds, recalibration and guarantees belong to each group, not beside them")
        for name, group in self.groups.items():
            where = f"groups, {name!r}"
            check_group_name("groups", name)
            if group.groups or group.conditions is not None:
                raise ConfigError(f"{where}: groups and conditions belong to the whole policy")
            for guarantee in group.guarantees:
                if guarantee.group and guarantee.group != f"{self.by} = {name}":
                    raise ConfigError(
                        f"{where}: its guarantee was given for questions with {guarantee.group}: calibrate again, or "
                        "leave guarantees out"
                    )
            for shared in ("k", "equality"):
                if getattr(group, shared) != getattr(self, shared):
                    raise ConfigError(
                        f"{where}: {shared} = {getattr(group, shared)!r} differs from the policy's "
                        f"{getattr(self, shared)!r}: it must be the same in all groups"
                    )
            if (self.by, name) == (RISK, "high") and group.answer_at is not None:
                raise ConfigError(f"{where}: answer_at is not allowed: at high risk no single answer is given")

    @property
    def risks(self) -> tuple[str, ...]:
        """Classes of risk that it has rules for."""
        return tuple(self.groups) if self.by == RISK else RISKS

    def rules_for(self, risk: str = "normal", meta: Mapping[str, object] | None = None) -> Policy:
        """The policy of the questions with this risk and these fields; itself where it does not tell them apart.

        Raises:
            ConfigError: a class of risk, or a value of the field ``by``, that it has no rules for.
        """
        name = self.group_of(risk, meta)
        return self.groups[name] if name else self

    def group_of(self, risk: str = "normal", meta: Mapping[str, object] | None = None) -> str:
        """Name of the group of the questions with this risk and these fields; "" without groups. As `rules_for`."""
        if risk not in self.risks:
            raise ConfigError(f"risk = {risk!r} is not known: use one of {', '.join(self.risks)}")
        if not self.by or self.by == RISK:
            return risk if self.by else ""
        if self.by not in (meta or {}):
            raise ConfigError(
                f"{self.by} is missing: the policy tells questions apart by it; use one of {', '.join(self.groups)}"
            )
        name = group_name((meta or {})[self.by])
        if name not in self.groups:
            raise ConfigError(f"{self.by} = {name!r} is not known: use one of {', '.join(self.groups)}")
        return name

    @property
    def promises(self) -> list[tuple[str, Guarantee]]:
        """Every guarantee with the name of its group, "" where there are no groups."""
        parts = self.groups or {"": self}
        return [(name, guarantee) for name, part in parts.items() for guarantee in part.guarantees]

    @property
    def known_questions(self) -> frozenset[str]:
        """Beginnings of the digests of the calibration questions."""
        return frozenset(self.questions[i : i + DIGITS] for i in range(0, len(self.questions), DIGITS))

    @property
    def inputs(self) -> InputCheck | None:
        """What tells questions unlike those of the calibration; None where nothing does."""
        return None if self.conditions is None else self.conditions.inputs

    @property
    def shows_anything(self) -> bool:
        """Whether some threshold allows an answer or a set."""
        return any(part.answer_at is not None or part.offer_at is not None for part in (self, *self.groups.values()))

    def digest(self) -> str:
        """Short hash of the rules, without the guarantees and what they were fitted on."""
        rules = self.to_json()
        for name in ("guarantees", *_LATER):
            rules.pop(name, None)
        if self.groups:  # a policy without groups has the digest that it had before there were any
            rules |= {"by": self.by, "groups": {name: group.digest() for name, group in self.groups.items()}}
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:16]

    def with_guarantees(self, *guarantees: Guarantee) -> Policy:
        """This policy with these guarantees, each bound to its rules."""
        digest = self.digest()
        return replace(self, guarantees=tuple(replace(guarantee, rules=digest) for guarantee in guarantees))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` reads them back unchanged."""
        row = {one.name: getattr(self, one.name) for one in fields(self)}
        row["groups"] = {name: group.to_json() for name, group in self.groups.items()}
        row = {name: value for name, value in row.items() if value or name not in _LATER}
        return json.loads(json.dumps(row, allow_nan=False, default=asdict))

    @staticmethod
    def from_json(row: object) -> Policy:
        """The policy of a JSON object; missing fields have their defaults.

        Raises:
            ConfigError: not an object, an unknown field, a value that is not allowed, a guarantee for other rules.
        """
        values = checked_fields(row, Policy, "policy")
        if values.get("recalibration") is not None:
            values["recalibration"] = _recalibration(values["recalibration"])
        if values.get("conditions") is not None:
            values["conditions"] = Conditions.from_json(values["conditions"])
        listed, groups = values.get("guarantees", []), values.get("groups", {})
        if not isinstance(listed, list):
            raise ConfigError("guarantees: a list is needed")
        if not isinstance(groups, Mapping):
            raise ConfigError("groups: an object is needed, with the policy of each group")
        values["guarantees"] = tuple(
            Guarantee(**checked_fields(item, Guarantee, "guarantee", needed=_NEEDED)) for item in listed
        )
        values["groups"] = {name: _group(name, group) for name, group in groups.items()}
        return Policy(**values)


_LATER = ("by", "groups", "note", "conditions", "questions")
"""Fields that files of older versions lack; written only where they say something."""
_NEEDED = tuple(one.name for one in fields(Guarantee) if one.name not in ("n_repeats", "group"))
"""Fields that a guarantee had from the beginning."""


def group_name(value: object) -> str:
    """A value of a field as the name of its group: a text itself, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def check_group_name(label: str, name: object) -> None:
    """Refuse what is no name of a group or class of risk, with a ConfigError."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
        raise ConfigError(f"{label} = {name!r:.80} is not allowed: give a printable text of 1 to {MAX_NAME} characters")


def _group(name: object, row: object) -> Policy:
    try:
        return Policy.from_json(row)
    except ConfigError as exc:
        raise ConfigError(f"groups, {name!r}: {exc}") from None


def _recalibration(row: object) -> Recalibration:
    values = checked_fields(row, Recalibration, "recalibration", needed=[one.name for one in fields(Recalibration)])
    points = values["points"]
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ConfigError("recalibration.points: a list of pairs of numbers is needed")
    return Recalibration(**{**values, "points": tuple((x, r) for x, r in points)})
