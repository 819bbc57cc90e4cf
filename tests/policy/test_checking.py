"""Policies against new labels: limits by hand, and how often a verdict is wrong."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from polymode.errors import ConfigError
from polymode.policy import Guarantee, Policy
from polymode.policy.checking import check_guarantees
from polymode.policy.records import Records

Rows = Callable[..., Records]
PROMISE = Guarantee("answer", "At most 0.1.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 100, 60, 2)
POLICY = Policy(answer_at=0.8).with_guarantees(PROMISE)


@pytest.mark.parametrize(("n_wrong", "verdict"), [(0, "holds"), (4, "holds"), (10, "open"), (25, "broken")])
def test_a_verdict_follows_from_the_exact_limits(n_wrong: int, verdict: str, rows: Rows) -> None:
    [check] = check_guarantees(POLICY, rows(*[(0.9, False)] * n_wrong, *[(0.9, True)] * (100 - n_wrong), (0.3, False)))
    assert (check.n, check.n_shown, check.n_failed, check.verdict) == (101, 100, n_wrong, verdict)
    both = binomtest(n_wrong, 100).proportion_ci(0.9, method="exact")  # 5% on each side
    assert (check.low, check.high) == pytest.approx((both.low, both.high), abs=1e-9)


def test_sets_are_those_of_questions_without_an_answer() -> None:
    q = np.tile([0.9, 0.05], (40, 1))
    q[20:] = [0.5, 0.4]
    right = np.zeros((40, 2), dtype=bool)
    right[25:, 1] = True
    promises = [PROMISE, Guarantee("offer_set", "?", "learn-then-test", 0.6, 0.05, 0.85, 0.3, 9, 9, 0)]
    policy = Policy(answer_at=0.8, offer_at=0.85, k=2).with_guarantees(*promises)
    answer, offered = check_guarantees(policy, Records(q, right))
    assert (answer.n_shown, answer.n_failed, answer.verdict) == (20, 20, "broken")
    assert (offered.n_shown, offered.n_failed, offered.verdict, offered.delta) == (20, 5, "holds", 0.025)
    assert "IT IS BROKEN: the rate is at least 83.2%, with probability 0.975" in str(answer)  # 0.025^(1 / 20) = 0.8316


def test_groups_are_checked_by_themselves(rows: Rows) -> None:
    policy = Policy(by="risk", groups={"low": POLICY, "odd": Policy()})
    records = rows(*[(0.9, True)] * 50, *[(0.9, False)] * 50)
    [check] = check_guarantees(policy, records, ["low"] * 50 + ["odd"] * 50)
    assert (check.group, check.n, check.n_failed, check.verdict) == ("low", 50, 0, "holds")
    with pytest.raises(ConfigError, match="risk = 'new' is not known to the policy: calibrate again"):
        check_guarantees(policy, records, ["new"] * 100)


def test_nothing_shown_and_nothing_promised(rows: Rows) -> None:
    [check] = check_guarantees(POLICY, rows(*[(0.3, True)] * 20))
    assert (check.low, check.high, check.verdict) == (0, 1, "open")
    with pytest.raises(ConfigError, match="no guarantee to check"):
        check_guarantees(Policy(answer_at=0.8), rows((0.9, True)))
    with pytest.raises(ConfigError, match="k = 1 of the records is not the policy's 2"):
        check_guarantees(Policy(answer_at=0.8, k=2).with_guarantees(PROMISE), rows((0.9, True)))


@pytest.mark.parametrize(("rate", "wrong_verdict"), [(0.1, "broken"), (0.101, "holds")])
def test_a_verdict_is_wrong_no_more_often_than_delta(rate: float, wrong_verdict: str, rows: Rows) -> None:
    """500 checks at the edge; delta = 0.1."""
    rng = np.random.default_rng(0)
    n_wrong = 0
    for n_failed in rng.binomial(150, rate, 500).tolist():
        records = rows(*[(0.9, False)] * n_failed, *[(0.9, True)] * (150 - n_failed))
        n_wrong += check_guarantees(POLICY, records, delta=0.1)[0].verdict == wrong_verdict
    assert 0 < n_wrong <= 71  # P(Binomial(500, 0.1) > 71) = 0.1%


@pytest.mark.parametrize("delta", [0, 1, -1, 1.5, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta: float, rows: Rows) -> None:
    with pytest.raises(ConfigError, match=f"delta = {delta} is not allowed: give a number between 0 and 1"):
        check_guarantees(POLICY, rows((0.9, True)), delta=delta)
