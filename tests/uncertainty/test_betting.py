"""Wealth against a hypothesis: hand-worked numbers, a second implementation by definition, and Ville's inequality."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from polymode.uncertainty.betting import (
    DELAY,
    FREQUENCIES,
    ODDS,
    STRENGTHS,
    BettingMartingale,
    ExchangeabilityTest,
    RateTest,
    start_weight,
    weight_from,
)


def test_the_weights_of_all_start_times_add_up_to_one() -> None:
    assert weight_from(1) == 1
    assert start_weight(1) == pytest.approx(0.5 + 0.5 * (1 - math.log(20) / math.log(21)))  # DELAY = 20
    assert start_weight(2) == pytest.approx(0.5 * math.log(20) * (1 / math.log(21) - 1 / math.log(22)))
    weights = [start_weight(i) for i in range(1, 5001)]
    assert all(a > b > 0 for a, b in pairwise(weights))
    assert sum(weights) + weight_from(5001) == pytest.approx(1)
    assert weight_from(10**9) < 0.08 and DELAY == 20


def test_one_bet_worked_by_hand() -> None:
    # A bet that doubles, then halves. After one step only the bet of time 1 has begun:
    # M_1 = 2 w1 + (1 - w1); after two: M_2 = w1 * 2 * 0.5 + w2 * 0.5 + (1 - w1 - w2) = 1 - w2 / 2.
    w1, w2 = start_weight(1), start_weight(2)
    martingale = BettingMartingale(1)
    assert martingale.bet(np.array([[2.0], [0.5]])) == pytest.approx([1 + w1, 1 - w2 / 2])
    assert (martingale.n, martingale.peak) == (2, pytest.approx(1 + w1))
    assert martingale.wealth == pytest.approx(1 - w2 / 2)


def by_definition(factors_N_B: np.ndarray, every: int) -> list[float]:
    """Sum over start times of weight times product of factors since, mean of the bets, plus the weights to come."""
    out = []
    for t in range(1, len(factors_N_B) + 1):
        starts = list(range(0, t, every))
        begun = [start_weight(i) * np.prod(factors_N_B[start:t], axis=0).mean() for i, start in enumerate(starts, 1)]
        out.append(sum(begun) + 1 - sum(start_weight(i) for i in range(1, len(starts) + 1)))
    return out


@given(st.integers(1, 7), st.lists(st.lists(st.floats(0.1, 2), min_size=3, max_size=3), min_size=1, max_size=25))
def test_parts_of_any_length_give_what_the_definition_gives(every: int, factors: list[list[float]]) -> None:
    factors_N_B = np.array(factors)
    whole, parts = BettingMartingale(3, every=every), BettingMartingale(3, every=every)
    expected = by_definition(factors_N_B, every)
    assert whole.bet(factors_N_B) == pytest.approx(expected)
    one_by_one = [float(parts.bet(factors_N_B[i : i + 1])[0]) for i in range(len(factors))]
    assert one_by_one == pytest.approx(expected)
    assert parts.peak == pytest.approx(max(1, *expected)) and parts.wealth == pytest.approx(expected[-1])
    assert len(parts.bet(np.empty((0, 3)))) == 0 and parts.wealth == pytest.approx(expected[-1])


def test_bets_on_a_rate_are_fair_at_alpha_and_unfavourable_below() -> None:
    for alpha in (0.01, 0.1, 0.5):
        factors = RateTest(alpha)._factors_2_B
        assert (1 - alpha) * factors[0] + alpha * factors[1] == pytest.approx(np.ones(len(ODDS)))
        rate = alpha / 2
        assert ((1 - rate) * factors[0] + rate * factors[1] < 1).all()
    # alpha = 0.1 has odds 1/9, three times as many are p = 1/4: 0.25 / 0.1 and 0.75 / 0.9
    assert RateTest(0.1)._factors_2_B[:, 2] == pytest.approx([0.75 / 0.9, 2.5])


def test_bets_on_p_values_are_densities() -> None:
    p = (np.arange(10_000) + 0.5) / 10_000
    for c in STRENGTHS:
        for j in FREQUENCIES:
            density = 1 + c * np.cos(j * np.pi * p)
            assert density.min() > 0 and density.mean() == pytest.approx(1, abs=1e-6)


def test_p_values_are_ranks_with_ties_by_lot() -> None:
    test = ExchangeabilityTest([1.0, 2.0, 2.0, 3.0])
    # Below 2 lies one of five (itself included), equal to it are three with itself.
    assert test.p_value(2.0, 0.0) == pytest.approx(1 / 5)
    assert test.p_value(2.0, 0.5) == pytest.approx((1 + 0.5 * 3) / 5)
    assert test.p_value(9.0, 1.0) == 1 and test.p_value(0.0, 0.25) == pytest.approx(0.25 / 5)
    test.observe([2.0], [0.5])
    assert test.p_value(3.0, 0.0) == pytest.approx(4 / 6)


def test_p_values_of_values_drawn_alike_are_independent_and_uniform() -> None:
    rng = np.random.default_rng(0)
    test, p = ExchangeabilityTest(rng.integers(0, 5, 50).tolist()), []
    for value in rng.integers(0, 5, 4000).tolist():  # with many ties
        u = float(rng.random())
        p.append(test.p_value(value, u))
        test.observe([value], [u])
    assert kstest(p, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 0.05


def exceedances(delta: float, runs: int, seed: int) -> tuple[int, int]:
    """How many runs without a change ever reach 1 / delta: rates at alpha, and exchangeable values."""
    rng = np.random.default_rng(seed)
    rates = values = 0
    for _ in range(runs):
        rate, alike = RateTest(0.1), ExchangeabilityTest(rng.normal(size=30).tolist(), every=10)
        rate.observe((rng.random(400) < 0.1).tolist())
        alike.observe(rng.normal(size=400).tolist(), rng.random(400).tolist())
        rates += rate.peak >= 1 / delta
        values += alike.peak >= 1 / delta
    return rates, values


def test_villes_inequality_by_simulation() -> None:
    runs, delta = 150, 0.2
    for count in exceedances(delta, runs, seed=1):
        # The exact lower limit of the share must not be above delta.
        assert count == 0 or beta.ppf(0.001, count, runs - count + 1) <= delta


def test_a_change_in_the_middle_is_found() -> None:
    rng = np.random.default_rng(2)
    rate = RateTest(0.1)
    rate.observe((rng.random(200) < 0.05).tolist())
    assert rate.peak < 5
    wealth = rate.observe((rng.random(150) < 0.4).tolist())
    assert 10 < int(np.argmax(wealth >= 100)) < 80  # 8 nats for the start, 5 for the limit, 0.31 each
    alike = ExchangeabilityTest(rng.normal(size=300).tolist())
    alike.observe(rng.normal(size=2000).tolist(), rng.random(2000).tolist())
    assert alike.peak < 20
    wealth = alike.observe((0.7 + rng.normal(size=600)).tolist(), rng.random(600).tolist())
    assert 20 < int(np.argmax(wealth >= 400)) < 300


def test_wealth_has_no_end_that_overflows() -> None:
    test = RateTest(0.01)
    assert np.isfinite(test.observe([True] * 2000)).all() and test.wealth > 1e90
