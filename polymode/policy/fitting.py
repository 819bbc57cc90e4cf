"""Thresholds with a guarantee, from judged records (layer L2).

Learn-then-Test with a learned order: the records are split at random, once. One part, the design part, gives the
recalibration map and the order in which thresholds are tested; the other gives an exact binomial test for each
threshold. Both parts use labels, but no test shares a record with the choice of its threshold, so the tests are exact
for any model and any confidences, however poor. The guarantees:

- ``answer`` and ``set``: a rate *among the questions that get the decision* is at most alpha. This holds **with
  probability at least 1 - delta** over the draw of the calibration records. Questions that do not reach the threshold
  are escalated, so it is possible even where often none of the K answers is right. When no threshold passes its
  test, fitting refuses.
- ``both``: the first two at once, each on a test part of its own. The sets are those of questions that get no ANSWER.
- ``conformal``: every usable question gets a set, and the rate of sets without a right answer is at most alpha **on
  average** over test parts, with probability 1 - delta over the design part; for one calibration it may be higher.
  Nothing can be left out, so fitting refuses unless the design part proves, at level delta, that all K answers miss
  rarely enough (`thresholds.conformal`).

**Groups.** Questions may be told apart by a field (a class of risk). Each group is then split, tested and given
thresholds by itself, with its own alpha, target and rules; what cannot be promised for a group is left out, noted, and
its questions are escalated. All guarantees hold together with probability at least 1 - delta:

- ``bonferroni``: each of m has delta / m.
- ``fixed-sequence``: each has delta, and they are tested one after the other: each sequence of thresholds ends where
  the design part expects a failure, and the first failure ends the testing. Groups are in the order in which they are
  named, then the larger ones first; neither depends on a test record.

The design part costs records but saves more: without it every threshold would need its share of delta (Bonferroni), as
an order that the tested records choose themselves is no fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from polymode.errors import ConfigError
from polymode.policy import thresholds
from polymode.policy.calibration import Calibration
from polymode.policy.groups import Group, groups_of, split
from polymode.policy.guarantee import Guarantee
from polymode.policy.maps import fit_map
from polymode.policy.policy import Policy
from polymode.policy.recalibration import Recalibration
from polymode.policy.records import Records, View


def fit_policy(
    records: Records,
    calibration: Calibration,
    *,
    rules: Policy | None = None,
    by: str = "",
    labels: Sequence[str] = (),
    groups: Mapping[str, Mapping[str, Any]] | None = None,
    **about: Any,
) -> Policy:
    """A policy whose thresholds satisfy the guarantee of the module docstring and show as much as it allows.

    Args:
        records: one per question, drawn like the questions to come.
        calibration: the guarantee.
        rules: further rules (``abstain_below``, ``max_effective``, ``when_malformed``, ``equality``), chosen before the
            records were seen; its thresholds and guarantees are replaced.
        by: field by which the questions are told apart; empty for one policy for all.
        labels: with ``by``, the group of each record.
        groups: with ``by``, by group what differs there (`groups.OPTIONS`).
        about: fields of each guarantee: ``n_unscored``, ``n_repeats``, ``fingerprint``, ``date``.

    Raises:
        ConfigError: too few records, or no threshold satisfies the guarantee, in any group; an unknown group, or an
            option that groups do not have.
    """
    bare = replace(
        rules or Policy(),
        answer_at=None,
        offer_at=None,
        offer_all=False,
        k=records.k,
        recalibration=None,
        guarantees=(),
    )
    parts = groups_of(records, calibration, bare, by, labels, groups or {})
    testable = split(parts, calibration, is_only=not by)
    if calibration.recalibrate != "none" and testable:
        map_ = _map(calibration.recalibrate, [part.design for part in testable if part.design is not None])
        for part in testable:
            part.policy = replace(part.policy, recalibration=map_)
    _test(testable, calibration, is_only=not by)
    for part in parts:
        promised = [replace(one, n_design=part.n_design, **about) for one in part.guarantees]
        part.policy = replace(part.policy, note="; ".join(part.notes)).with_guarantees(*promised)
    if not by:
        return parts[0].policy
    if not any(part.guarantees for part in parts):
        reasons = "; ".join(f"{part.name}: {part.policy.note}" for part in parts)
        raise ConfigError(f"by = {by!r}: nothing can be promised for any group ({reasons})")
    by_name: dict[str, Policy] = {}
    for part in parts:
        promises = tuple(replace(one, group=f"{by} = {part.name}") for one in part.policy.guarantees)
        by_name[part.name] = replace(part.policy, guarantees=promises)
    return replace(bare, by=by, groups=by_name)


def _map(method: str, designs: Sequence[Records]) -> Recalibration:
    """One map for all groups, fitted to the design parts of all of them."""
    answers = [design.answers() for design in designs]
    q, y = (np.concatenate(values) for values in zip(*answers, strict=True))
    return fit_map(method, q, y)


def _test(parts: list[Group], calibration: Calibration, *, is_only: bool) -> None:
    """Thresholds and guarantees of each group, one decision after the other."""
    ended_at = ""
    for part in parts:
        for number, decision in enumerate(part.calibration.decisions):
            where = f"{decision}{part.who}"
            if ended_at:
                part.notes.append(f"{decision}: not tested, as the fixed sequence ended at {ended_at}")
                continue
            try:
                guarantee, is_complete = _promise(part, number, decision, calibration.correction)
            except ConfigError as exc:
                if is_only:
                    raise ConfigError(f"{exc}{_alternative(part.policy)}") from None
                part.notes.append(f"{decision}: {exc}")
                is_complete = False
            else:
                part.guarantees.append(guarantee)
                name = {"answer": "answer_at", "offer_set": "offer_at"}[decision]
                part.policy = replace(part.policy, **{name: guarantee.threshold})
            if calibration.correction == "fixed-sequence" and not is_complete:
                ended_at = where


def _promise(part: Group, number: int, decision: str, correction: str) -> tuple[Guarantee, bool]:
    """The guarantee of one decision, and whether all its tests passed; raises ConfigError where there is none."""
    assert part.design is not None
    alpha, delta = part.calibration.alpha_of(decision), part.calibration.delta
    design, test = (View.of(records, part.policy) for records in (part.design, part.tests[number]))
    if part.calibration.target == "conformal":
        return thresholds.conformal(design, test, alpha, delta, who=part.who), True
    is_answer = decision == "answer"
    outcome = thresholds.single_answers if is_answer else thresholds.sets_beside(part.policy.answer_at)
    statistic = design.top if is_answer else design.mass
    is_limited = correction == "fixed-sequence"
    order = thresholds.order_of_tests(
        decision, outcome, statistic, design, len(test.top), alpha, delta, is_limited=is_limited
    )
    guarantee = thresholds.learn_then_test(decision, outcome, order, test, alpha, delta, who=part.who)
    return guarantee, guarantee.threshold == order[-1]


def _alternative(policy: Policy) -> str:
    """What can be promised where the rest cannot."""
    if policy.answer_at is None:
        return ""
    return f"; target 'answer' alone can be promised, with answer_at = {policy.answer_at:g}"
