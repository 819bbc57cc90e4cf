"""Thresholds with a guarantee, from judged records (layer L2).

Learn-then-Test with a learned order: the records are split at random, once. One part, the design part, gives the
recalibration map and the order in which thresholds are tested; the other gives an exact binomial test for each
threshold. Both parts use labels, but no test shares a record with the choice of its threshold, so the tests are exact
for any model and any confidences, however poor. The guarantees:

- ``answer`` and ``set``: a rate *among the questions that get the decision* is at most alpha. This holds **with
  probability at least 1 - delta** over the draw of the calibration records. Questions that do not reach the threshold
  are escalated, so it is possible even where often none of the K answers is right. When no threshold passes its
  test, fitting refuses.
- ``both``: the first two at once, from a test part each, at delta / 2 each: both hold together with probability at
  least 1 - delta. The sets are those of questions that do not get ANSWER.
- ``conformal``: every usable question gets a set, and the rate of sets without a right answer is at most alpha **on
  average** over calibration records and questions (marginally); for one calibration it may be higher. Nothing can be
  left out, so fitting refuses when even all K answers miss too often.

The design part costs records but saves more: without it every threshold would need its share of delta (Bonferroni), as
an order that the tested records choose themselves is no fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from polymode.errors import ConfigError, one_of
from polymode.policy import thresholds
from polymode.policy.maps import MIN_ANSWERS, fit_map
from polymode.policy.policy import Guarantee, Policy
from polymode.policy.recalibration import METHODS
from polymode.policy.records import Ints, Records, View

TARGETS = ("answer", "set", "both", "conformal")
MIN_DESIGN = 10
"""Fewest records of the design part."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The request to `fit_policy`."""

    target: str = "set"
    """What the guarantee is about: answer, set, both or conformal."""
    alpha: float = 0.1
    """Largest tolerated share of failures."""
    delta: float = 0.05
    """Probability that the guarantee fails because the records were unrepresentative; not used by conformal."""
    recalibrate: str = "none"
    """How confidences are recalibrated first, to match how often answers are right: none, isotonic, platt or
    temperature."""
    design_share: float = 0.3
    """Share of the records that recalibration and the order of the tests are fitted on; the rest is for testing."""
    seed: int = 0
    """Random seed of the split into the two parts."""

    def __post_init__(self) -> None:
        one_of("target", self.target, TARGETS)
        one_of("recalibrate", self.recalibrate, ("none", *METHODS))
        for name in ("alpha", "delta", "design_share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} is not allowed: give a number between 0 and 1")


def fit_policy(
    records: Records,
    calibration: Calibration,
    *,
    rules: Policy | None = None,
    n_unscored: int = 0,
    fingerprint: str = "",
    date: str = "",
) -> Policy:
    """A policy whose thresholds satisfy the guarantee of the module docstring and show as much as it allows.

    Args:
        records: one per question, drawn like the questions to come.
        calibration: the guarantee.
        rules: further rules (``abstain_below``, ``max_effective``, ``when_malformed``, ``equality``), chosen before the
            records were seen; its thresholds and guarantees are replaced.
        n_unscored: records with an answer that could not be judged, noted in the guarantee.
        fingerprint: of the calibration file, noted in the guarantee.
        date: noted in the guarantee.

    Raises:
        ConfigError: too few records, or no threshold satisfies the guarantee.
    """
    design, *tests = _split(len(records), calibration)
    bare = replace(
        rules or Policy(),
        answer_at=None,
        offer_at=None,
        offer_all=calibration.target == "conformal",
        k=records.k,
        recalibration=None,
        guarantees=(),
    )
    if calibration.recalibrate != "none":
        bare = replace(bare, recalibration=fit_map(calibration.recalibrate, *records.at(design).answers()))
    about = {"n_design": len(design), "n_unscored": n_unscored, "fingerprint": fingerprint, "date": date}
    policy, guarantees = bare, list[Guarantee]()
    design_view, *test_views = [View.of(records.at(part), bare) for part in (design, *tests)]
    alpha, delta = calibration.alpha, calibration.delta / len(tests)
    if calibration.target == "conformal":
        guarantees.append(thresholds.conformal(test_views[0], alpha))
        policy = replace(policy, offer_at=guarantees[-1].threshold)
    if calibration.target in ("answer", "both"):
        outcome, top = thresholds.single_answers, design_view.top
        guarantees.append(thresholds.learn_then_test("answer", outcome, top, design_view, test_views[0], alpha, delta))
        policy = replace(policy, answer_at=guarantees[-1].threshold)
    if calibration.target in ("set", "both"):
        outcome, mass = thresholds.sets_beside(policy.answer_at), design_view.mass
        try:
            guarantees.append(
                thresholds.learn_then_test("offer_set", outcome, mass, design_view, test_views[-1], alpha, delta)
            )
        except ConfigError as exc:
            if policy.answer_at is None:
                raise
            alone = f"target 'answer' alone can be promised, with answer_at = {policy.answer_at:g}"
            raise ConfigError(f"{exc}; {alone}") from None
        policy = replace(policy, offer_at=guarantees[-1].threshold)
    return policy.with_guarantees(*(replace(guarantee, **about) for guarantee in guarantees))


def _split(n: int, calibration: Calibration) -> list[Ints]:
    """Record numbers of the design part and of one test part per promise, after saying when they are too few."""
    is_conformal = calibration.target == "conformal"
    has_map = calibration.recalibrate != "none"
    share = calibration.design_share if has_map or not is_conformal else 0.0
    n_tests = 2 if calibration.target == "both" else 1
    alpha, delta = calibration.alpha, calibration.delta / n_tests
    least = thresholds.records_to_conform(alpha) if is_conformal else thresholds.records_to_test(alpha, delta)
    least_design = (MIN_ANSWERS if has_map else MIN_DESIGN) if share else 0

    def parts(n: int) -> tuple[int, int]:
        n_design = round(share * n)
        return n_design, (n - n_design) // n_tests

    def suffices(n: int) -> bool:
        n_design, n_test = parts(n)
        return n_design >= least_design and n_test >= least

    if not suffices(n):
        rough = max(least * n_tests / (1 - share), least_design / share if share else 0)
        needed = next(m for m in count(max(n + 1, int(rough) - n_tests - 2)) if suffices(m))
        what = f"alpha = {alpha:g}" + ("" if is_conformal else f", delta = {calibration.delta:g}")
        raise ConfigError(
            f"records: {n} are too few, {what} and target = {calibration.target!r} need at least {needed} even when "
            "nothing fails: judge more questions, or allow a larger alpha"
        )
    n_design, n_test = parts(n)
    order = np.random.default_rng(calibration.seed).permutation(n)
    ends = [n_design + (i + 1) * n_test for i in range(n_tests - 1)]
    return np.split(order, [n_design, *ends])
