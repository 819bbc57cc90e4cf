"""Groups: alpha, target and rules of each, how delta is shared, and whether all guarantees hold together."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.policy import Policy, decide
from polymode.policy.calibration import Calibration
from polymode.policy.fitting import fit_policy
from polymode.policy.records import Records
from polymode.types import DecisionKind

Rows = Callable[..., Records]


def world(n: int, wrong: float, rng: np.random.Generator) -> Records:
    """Single answers whose confidences mean nothing: at every threshold the share ``wrong`` is wrong."""
    return Records(np.round(rng.random((n, 1)), 1), rng.random((n, 1)) >= wrong)


def joined(parts: dict[str, Records]) -> tuple[Records, list[str]]:
    q, right = (np.concatenate([getattr(one, name) for one in parts.values()]) for name in ("q", "right"))
    records = Records(q, right)
    return records, [name for name, part in parts.items() for _ in range(len(part))]


def test_each_group_has_its_own_alpha_target_and_rules(rows: Rows) -> None:
    good = rows(*[(0.9, True)] * 200)
    records, labels = joined({"low": good, "high": good, "odd": rows(*[(0.9, True), (0.9, False)] * 100)})
    groups = {"low": {"alpha": 0.05, "abstain_below": 0.2}, "odd": {"target": "set", "alpha": 0.2}}
    calibration = Calibration("answer", alpha=0.1, delta=0.06)
    policy = fit_policy(records, calibration, by="risk", labels=labels, groups=groups, date="2026-11-21")
    assert list(policy.groups) == ["low", "odd", "high"] and policy.by == "risk"
    low, high, odd = (policy.rules_for(name) for name in ("low", "high", "odd"))
    # Three guarantees share 0.06; at high risk no answer stands alone, so its target is a set.
    assert [(name, one.decision, one.alpha, one.delta) for name, one in policy.promises] == [
        ("low", "answer", 0.05, 0.02),
        ("high", "offer_set", 0.1, 0.02),
    ]
    assert (low.answer_at, low.offer_at, low.abstain_below) == (0.9, None, 0.2)
    assert (high.answer_at, high.offer_at, high.abstain_below) == (None, 0.9, 0)
    assert (odd.answer_at, odd.offer_at) == (None, None) and odd.note.startswith("offer_set: alpha = 0.2 cannot be")
    assert "with risk = low that get ANSWER are answered wrongly" in low.guarantees[0].statement
    assert Policy.from_json(policy.to_json()) == policy


def test_decisions_are_those_of_the_group(make_set: Callable) -> None:
    groups = {"low": Policy(answer_at=0.5), "high": Policy(offer_at=0.5), "odd": Policy(note="nothing")}
    policy, answers = Policy(by="risk", groups=groups), make_set(("flu", 0.7), ("cold", 0.2))
    kinds = [decide(answers, policy, risk=risk).kind for risk in groups]
    assert kinds == [DecisionKind.ANSWER, DecisionKind.OFFER_SET, DecisionKind.ESCALATE]
    with pytest.raises(ConfigError, match="risk = 'normal' is not known: use one of low, high, odd"):
        decide(answers, policy)
    by_ward = Policy(by="ward", groups={"3": Policy(answer_at=0.5), "true": Policy(offer_at=0.5)})
    assert decide(answers, by_ward, meta={"ward": 3}).kind is DecisionKind.ANSWER
    assert decide(answers, by_ward, meta={"ward": True}).kind is DecisionKind.OFFER_SET
    assert decide(answers, by_ward, meta={"ward": 3}, risk="high").kind is DecisionKind.ESCALATE
    for meta, said in (({}, "ward is missing"), ({"ward": 4}, "ward = '4' is not known: use one of 3, true")):
        with pytest.raises(ConfigError, match=said):
            decide(answers, by_ward, meta=meta)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"by": ""}, "by, groups: give both or neither"),
        ({"answer_at": 0.5}, "groups: thresholds, recalibration and guarantees belong to each group"),
        ({"k": 2}, "groups, 'low': k = None differs from the policy's 2"),
        ({"equality": "exact"}, "groups, 'low': equality = 'text' differs"),
        ({"groups": {" ": Policy()}}, "groups = ' ' is not allowed: give a printable text of 1 to 100"),
        ({"groups": {"high": Policy(answer_at=0.5)}}, "answer_at is not allowed: at high risk no single answer"),
        ({"groups": {"a": Policy(by="b", groups={"c": Policy()})}}, "groups and conditions belong to the whole"),
    ],
)
def test_groups_that_contradict_the_policy_are_refused(change: dict, said: str) -> None:
    policy = Policy(by="risk", groups={"low": Policy(answer_at=0.5)})
    with pytest.raises(ConfigError, match=said):
        replace(policy, **change)


def test_a_fixed_sequence_gives_each_test_all_of_delta_and_ends_at_the_first_failure(rows: Rows) -> None:
    # 0.9^29 < 0.05 and 0.9^28 > 0.05: 42 records, of which 29 are tested, suffice for all of delta, not for a third.
    good = rows(*[(0.9, True)] * 42)
    records, labels = joined({"a": good, "b": good, "c": good})
    options = {"by": "ward", "labels": labels}
    sequence = fit_policy(records, Calibration("answer", correction="fixed-sequence"), **options)
    assert [(name, one.delta) for name, one in sequence.promises] == [("a", 0.05), ("b", 0.05), ("c", 0.05)]
    with pytest.raises(ConfigError, match="nothing can be promised for any group .*a: records: 42 are too few"):
        fit_policy(records, Calibration("answer"), **options)
    records, labels = joined({"a": good, "b": rows(*[(0.9, False)] * 42), "c": good})
    policy = fit_policy(records, Calibration("answer", correction="fixed-sequence"), by="ward", labels=labels)
    assert [name for name, _ in policy.promises] == ["a"]
    assert policy.groups["c"].note == "answer: not tested, as the fixed sequence ended at answer with ward = b"


@pytest.mark.parametrize("correction", ["bonferroni", "fixed-sequence"])
@pytest.mark.parametrize("bad", [("a", "b", "c"), ("b",)])
def test_all_guarantees_hold_together_with_probability_1_minus_delta(correction: str, bad: tuple[str, ...]) -> None:
    """200 worlds at delta = 0.1 in which every policy of a bad group is broken, just above alpha = 0.2."""
    n_broken = n_found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        records, labels = joined({name: world(90, 0.21 if name in bad else 0.02, rng) for name in ("a", "b", "c")})
        calibration = Calibration("answer", 0.2, 0.1, seed=seed, correction=correction)
        try:
            policy = fit_policy(records, calibration, by="ward", labels=labels)
        except ConfigError:
            continue
        n_found += 1
        n_broken += any(name in bad for name, _ in policy.promises)
    assert n_broken <= 34  # P(Binomial(200, 0.1) > 34) = 0.1%
    assert n_broken > 0 and (len(bad) == 3 or n_found >= 100)


def test_the_map_of_all_groups_is_fitted_to_their_design_parts() -> None:
    rng = np.random.default_rng(3)
    q = rng.choice([0.2, 0.9], (400, 1))
    records, labels = Records(q, rng.random((400, 1)) < q), ["a"] * 200 + ["b"] * 200
    policy = fit_policy(records, Calibration("answer", 0.3, recalibrate="isotonic"), by="ward", labels=labels)
    maps = [group.recalibration for group in policy.groups.values()]
    assert maps[0] is not None and maps[0] == maps[1] and maps[0].n == 120  # 30% of each, one answer each
