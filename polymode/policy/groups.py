"""The questions that get thresholds of their own, and their split into a design part and test parts (layer L2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from polymode.errors import ConfigError, one_of
from polymode.policy import thresholds
from polymode.policy.calibration import Calibration
from polymode.policy.guarantee import Guarantee
from polymode.policy.maps import MIN_ANSWERS
from polymode.policy.policy import RISK, Policy
from polymode.policy.records import Ints, Records

MIN_DESIGN = 10
"""Fewest records of the design part."""
RULES = ("abstain_below", "max_effective", "when_malformed")
"""Rules that may differ between groups."""
OPTIONS = ("target", "alpha", "alpha_answer", "alpha_set", *RULES)
"""What may differ between groups."""


@dataclass(eq=False)
class Group:
    """Questions that get thresholds of their own, and what comes of them."""

    name: str
    who: str
    """The same in words, as `` with risk = high``."""
    records: Records
    calibration: Calibration
    rules: Policy
    n_design: int = 0
    design: Records | None = None
    tests: list[Records] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    guarantees: list[Guarantee] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def groups_of(
    records: Records,
    calibration: Calibration,
    rules: Policy,
    by: str,
    labels: Sequence[str],
    special: Mapping[str, Mapping[str, Any]],
) -> list[Group]:
    """The groups in the order of their tests, each with its own options."""
    if not by:
        return [Group("", "", records, calibration, replace(rules, offer_all=calibration.target == "conformal"))]
    if len(labels) != len(records):
        raise ConfigError(f"labels: {len(labels)} are given for {len(records)} records: one each is needed")
    sizes = {name: labels.count(name) for name in sorted(set(labels))}
    for name, options in special.items():
        if name not in sizes:
            raise ConfigError(f"groups: no record has {by} = {name!r}; they have {', '.join(sizes)}")
        for option in options:
            one_of(f"groups, {name}: option", option, OPTIONS)
    order = [*special, *sorted(set(sizes) - set(special), key=lambda name: (-sizes[name], name))]
    group_of_N = np.array(labels)
    out = []
    for name in order:
        own = dict(special.get(name, {}))
        own_rules = {option: own.pop(option) for option in RULES if option in own}
        if "alpha" in own:  # the group's alpha is more particular than a decision's
            own = {"alpha_answer": None, "alpha_set": None, **own}
        if (by, name) == (RISK, "high") and own.get("target", calibration.target) in ("answer", "both"):
            if "target" in own:
                raise ConfigError("groups, high: target must be set or conformal: at high risk no answer stands alone")
            own["target"] = "set"
        try:
            one = replace(calibration, **own)
            own_policy = replace(rules, **own_rules, offer_all=one.target == "conformal")
        except ConfigError as exc:
            raise ConfigError(f"groups, {name}: {exc}") from None
        rows = np.flatnonzero(group_of_N == name)
        out.append(Group(name, f" with {by} = {name}", records.at(rows), one, own_policy))
    return out


def split(parts: list[Group], calibration: Calibration, *, is_only: bool) -> list[Group]:
    """Split each group at random; returns those with enough records, after giving each guarantee its delta.

    A group that is too small takes no part, so that it costs the others nothing; sizes tell nothing about labels.
    """
    for part in parts:
        part.policy = part.rules
    testable, delta = parts, _share(parts, calibration)
    for _ in range(2):  # with the share of all, then with that of the groups that are left
        testable = [part for part in testable if not _shortage(part, delta, with_map=is_only)]
        delta = _share(testable or parts, calibration)
    for part in parts:
        if part not in testable:
            problem = _shortage(part, delta, with_map=is_only) or "too few records for its part of delta"
            if is_only:
                raise ConfigError(problem)
            part.notes.append(problem)
    for number, part in enumerate(testable):
        part.calibration = replace(part.calibration, delta=delta)
        n = len(part.records)
        n_design, n_test = _sizes(part.calibration, n)
        rng = np.random.default_rng(calibration.seed if is_only else [calibration.seed, number])
        order: Ints = rng.permutation(n)
        ends = [n_design + i * n_test for i in range(1, len(part.calibration.decisions))]
        design, *tests = np.split(order, [n_design, *ends])
        part.n_design, part.design = n_design, part.records.at(design)
        part.tests = [part.records.at(test) for test in tests]
    return testable


def _share(parts: Sequence[Group], calibration: Calibration) -> float:
    """What each guarantee has of delta."""
    n_guarantees = sum(len(part.calibration.decisions) for part in parts)
    return calibration.delta / n_guarantees if calibration.correction == "bonferroni" else calibration.delta


def _sizes(calibration: Calibration, n: int) -> tuple[int, int]:
    """Records of the design part, and of the test part of each guarantee."""
    n_design = round(calibration.design_share * n)
    return n_design, (n - n_design) // len(calibration.decisions)


def _shortage(part: Group, delta: float, *, with_map: bool) -> str:
    """How many records a group needs when it has too few even if nothing fails; "" when they may suffice."""
    calibration, n = part.calibration, len(part.records)
    least_design = MIN_ANSWERS if with_map and calibration.recalibrate != "none" else MIN_DESIGN
    alphas = [calibration.alpha_of(decision) for decision in calibration.decisions]
    if calibration.target == "conformal":
        least = thresholds.records_to_conform(alphas[0])
        least_design = max(least_design, thresholds.records_to_test(alphas[0], delta))
    else:
        least = max(thresholds.records_to_test(alpha, delta) for alpha in alphas)

    def suffices(n: int) -> bool:
        n_design, n_test = _sizes(calibration, n)
        return n_design >= least_design and n_test >= least

    if suffices(n):
        return ""
    share = calibration.design_share
    rough = max(least * len(alphas) / (1 - share), least_design / share)
    needed = next(m for m in count(max(n + 1, int(rough) - len(alphas) - 2)) if suffices(m))
    what = ", ".join(f"{alpha:g}" for alpha in dict.fromkeys(alphas))
    return (
        f"records: {n} are too few, alpha = {what}, delta = {calibration.delta:g} and target = "
        f"{calibration.target!r} need at least {needed} even when nothing fails: judge more questions, or allow a "
        "larger alpha"
    )
