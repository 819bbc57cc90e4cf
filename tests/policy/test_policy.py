"""A policy: its limits, its JSON form, and promises that stay with the rules they were made for."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.policy import Guarantee, Policy, Recalibration

PROMISE = Guarantee("answer", "At most 0.1.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 100, 60, 2)


def maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


maps = st.builds(Recalibration, st.just("platt"), st.integers(0, 9), st.floats(0.01, 9), st.floats(-3, 3)) | st.builds(
    lambda a, b: Recalibration("isotonic", 7, points=((0.25, a * b), (0.5, a))), st.floats(0, 1), st.floats(0, 1)
)
policies = st.builds(
    Policy,
    when_malformed=st.sampled_from(["escalate", "abstain"]),
    abstain_below=st.floats(0, 20) | st.integers(0, 3),
    max_effective=maybe(st.floats(1, 20)),
    answer_at=maybe(st.floats(0, 1)),
    offer_at=maybe(st.floats(0, 20) | st.integers(0, 3)),
    offer_all=st.booleans(),
    equality=st.sampled_from(["text", "exact"]),
    recalibration=maybe(maps),
    k=maybe(st.integers(1, 20)),
)


@given(policy=policies, has_promise=st.booleans())
def test_json_gives_the_same_policy_back(policy: Policy, has_promise: bool) -> None:
    if has_promise:
        policy = replace(policy, answer_at=0.8, offer_at=0.9).with_guarantees(
            PROMISE, replace(PROMISE, decision="offer_set", threshold=0.9, method="conformal", delta=None)
        )
    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_what_is_left_out_has_its_default() -> None:
    assert Policy.from_json({"answer_at": 0.8}) == Policy(answer_at=0.8)
    assert Policy.from_json({}) == Policy()


def test_a_promise_does_not_move_to_other_rules() -> None:
    promised = Policy(answer_at=0.8).with_guarantees(PROMISE)
    assert promised.guarantees[0].rules == Policy(answer_at=0.8).digest()
    with pytest.raises(ConfigError, match="guarantees: they were given for other rules than these"):
        replace(promised, answer_at=0.7)
    row = promised.to_json()
    for change in (
        {"answer_at": 0.79},
        {"max_effective": 2},
        {"recalibration": {**MAP}},
        {"when_malformed": "abstain"},
    ):
        with pytest.raises(ConfigError, match="calibrate again, or leave guarantees out"):
            Policy.from_json({**row, **change})
    assert Policy.from_json({**row, "answer_at": 0.7, "guarantees": []}).answer_at == 0.7


MAP = {"method": "temperature", "n": 9, "slope": 0.5, "intercept": 0, "points": []}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "policy: a JSON object is needed, got list"),
        ({"answer_at": 0.8, "answerat": 1}, "policy: unknown field 'answerat'; known: when_malformed, abstain_below"),
        ({"answer_at": 1.2}, "answer_at = 1.2 is not allowed: give a number from 0 to 1"),
        ({"answer_at": "0.8"}, "answer_at = '0.8' is not allowed"),
        ({"answer_at": True}, "answer_at = True is not allowed"),
        ({"answer_at": math.nan}, "answer_at = nan is not allowed"),
        ({"offer_at": -1}, "offer_at = -1 is not allowed: give a number from 0 to 20"),
        ({"abstain_below": None}, "abstain_below = None is not allowed: give a number from 0 to 20"),
        ({"max_effective": 0.5}, "max_effective = 0.5 is not allowed: give a number from 1"),
        ({"max_effective": math.inf}, "max_effective = inf is not allowed"),
        ({"when_malformed": "answer"}, "when_malformed = 'answer' is not known: use one of escalate, abstain"),
        ({"equality": "symbolic"}, "equality = 'symbolic' is not known: use one of text, exact"),
        ({"equality": ["text"]}, "equality = ['text'] is not known"),
        ({"offer_all": 1}, "offer_all = 1 is not allowed: give true or false"),
        ({"k": 0}, "k = 0 is not allowed"),
        ({"k": 21}, "k = 21 is not allowed"),
        ({"recalibration": 1}, "recalibration: a JSON object is needed, got int"),
        ({"recalibration": {"method": "platt"}}, "recalibration: n is missing; calibrate again"),
        ({"recalibration": {**MAP, "T": 2}}, "recalibration: unknown field 'T'; known: method, n, slope"),
        ({"recalibration": {**MAP, "points": 3}}, "recalibration.points: a list of pairs of numbers is needed"),
        ({"recalibration": {**MAP, "points": [[1]]}}, "recalibration.points: a list of pairs of numbers is needed"),
        ({"guarantees": {}}, "guarantees: a list is needed"),
        ({"guarantees": [{}]}, "guarantee: decision is missing; calibrate again"),
        ({"guarantees": [{"x": 1}]}, "guarantee: unknown field 'x'"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_policy_is_refused(row: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.from_json(row)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"alpha": 2}, "guarantee.alpha = 2 is not allowed: give a number between 0 and 1"),
        ({"alpha": None}, "guarantee.alpha = None is not allowed"),
        ({"bound": "low"}, "guarantee.bound = 'low' is not allowed"),
        ({"n": -1}, "guarantee.n = -1 is not allowed"),
        ({"n_shown": 1.5}, "guarantee.n_shown = 1.5 is not allowed: give a whole number from 0"),
        ({"statement": None}, "guarantee.statement = None is not allowed: give a text"),
        ({"threshold": None}, "guarantee.threshold = None is not allowed"),
        ({"decision": "banana"}, "guarantee.decision = 'banana' is not known: use one of answer, offer_set"),
        ({"method": "luck"}, "guarantee.method = 'luck' is not known"),
        ({"alpha": 0}, "guarantee.alpha = 0 is not allowed"),
        ({"n_failed": 61}, "n_failed = 61, n_shown = 60, n = 100 are not allowed"),
    ],
)
def test_a_promise_has_numbers_and_texts(change: dict, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(PROMISE, **change)
    assert said in str(caught.value)


OLDER = {
    "when_malformed": "escalate",
    "abstain_below": 0.1,
    "max_effective": None,
    "answer_at": None,
    "offer_at": 0.81,
    "offer_all": True,
    "equality": "text",
    "recalibration": None,
    "k": 3,
    "guarantees": [
        {
            "decision": "offer_set",
            "statement": "On average.",
            "method": "conformal",
            "alpha": 0.2,
            "delta": None,
            "threshold": 0.81,
            "bound": 0.18333333333333332,
            "n": 1500,
            "n_shown": 1499,
            "n_failed": 274,
            "n_design": 0,
            "n_unscored": 4,
            "fingerprint": "f",
            "date": "2026-11-21",
            "rules": "da6b0852d58fd2a7",
        }
    ],
}
"""A policy.json of the version before groups and conditions, with the digest that it computed."""


def test_a_policy_of_an_older_version_is_read() -> None:
    policy = Policy.from_json(OLDER)
    assert policy.digest() == "da6b0852d58fd2a7" and policy.guarantees[0].n_repeats is None
    assert (policy.conditions, policy.by, policy.groups) == (None, "", {})
    assert set(policy.to_json()) == set(OLDER)  # and one without groups is written in the same fields


def test_a_promise_is_about_the_threshold_of_its_decision() -> None:
    policy = Policy(answer_at=0.8)
    with pytest.raises(ConfigError, match="offer_set is promised for the threshold 0.8, and offer_at = None"):
        policy.with_guarantees(replace(PROMISE, decision="offer_set"))
    with pytest.raises(ConfigError, match="answer is promised for the threshold 0.7, and answer_at = 0.8"):
        policy.with_guarantees(replace(PROMISE, threshold=0.7))
    with pytest.raises(ConfigError, match="answer has several"):
        policy.with_guarantees(PROMISE, PROMISE)


def test_the_promise_of_a_group_does_not_hold_for_another_one() -> None:
    own = Policy(answer_at=0.8, k=2)
    groups = {name: own.with_guarantees(replace(PROMISE, group=f"risk = {name}")) for name in ("low", "mid")}
    policy = Policy(by="risk", groups=groups, k=2)
    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    with pytest.raises(ConfigError, match="groups, 'low': its guarantee was given for questions with risk = mid"):
        Policy(by="risk", groups={"low": groups["mid"], "mid": groups["low"]}, k=2)
