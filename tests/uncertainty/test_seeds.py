"""Intervals over seeds against t limits and simulated experiments."""

import math

import numpy as np
import pytest
from scipy.stats import t

from polymode.uncertainty import Estimate, SeedVariance, over_seeds

ANY = (-math.inf, math.inf)


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


def test_one_seed_has_its_own_interval() -> None:
    assert over_seeds([Estimate(0.5, 0.4, 0.7, 9)], (0.0, 1.0)) == pytest.approx((0.5, 0.4, 0.7))


def test_seeds_alone_have_the_t_interval() -> None:
    # Nothing varies between questions: mean 2, s = 1, t(2) s / sqrt(3).
    value, low, high = over_seeds([estimate(x, 1e-9) for x in (1.0, 2.0, 3.0)], ANY)
    half = t.ppf(0.975, 2) / math.sqrt(3)
    assert (value, low, high) == pytest.approx((2.0, 2 - half, 2 + half))


def test_seeds_that_agree_have_the_interval_of_one() -> None:
    assert over_seeds([estimate(0.3, 0.1)] * 4, ANY) == pytest.approx((0.3, 0.2, 0.4))


def test_an_interval_ends_at_the_limits() -> None:
    _, low, high = over_seeds([estimate(x, 0.01) for x in (0.4, 1.0)], (0.0, 1.0))
    assert (low, high) == (0.0, 1.0)


def test_undefined_seeds_are_left_out() -> None:
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    assert over_seeds([estimate(0.3, 0.1), nothing], ANY) == pytest.approx((0.3, 0.2, 0.4))
    assert np.isnan(over_seeds([nothing], ANY)).all()
    value, low, high = over_seeds([Estimate(0.5, math.nan, math.nan, 1)], ANY)
    assert value == 0.5 and math.isnan(low) and math.isnan(high)


def test_both_sides_of_a_difference_vary() -> None:
    # Every seed of one with every seed of the other: variances 0.75 and 0.25 with 2 and 4 degrees of freedom.
    parts = [SeedVariance(0.75, 2), SeedVariance(0.25, 4)]
    half = math.sqrt(0.75 * t.ppf(0.975, 2) ** 2 + 0.25 * t.ppf(0.975, 4) ** 2)
    _, low, high = over_seeds([estimate(0.0, 1e-9)] * 15, ANY, parts)
    assert (low, high) == pytest.approx((-half, half))


def test_questions_and_seeds_add_up_as_squares() -> None:
    value, low, high = over_seeds([Estimate(x, x - 0.3, x + 0.4, 9) for x in (-0.1, 0.1)], ANY)
    between = t.ppf(0.975, 1) * 0.1  # s = 0.1 sqrt(2), over sqrt(2)
    assert (value, low, high) == pytest.approx((0, -math.hypot(0.3, between), math.hypot(0.4, between)))


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize(("of_questions", "of_seeds"), [(1.0, 0.1), (1.0, 1.0), (0.1, 1.0)])
def test_intervals_over_seeds_hold_the_truth(n_seeds: int, of_questions: float, of_seeds: float) -> None:
    # The questions move all seeds alike, and each seed has an effect of its own; the truth is 0.
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        values = of_questions * rng.normal() + of_seeds * rng.normal(size=n_seeds)
        _, low, high = over_seeds([estimate(x, 1.96 * of_questions) for x in values], ANY)
        held += low <= 0 <= high
    assert held >= 370  # 92.5%: 95% less 2.3 standard errors
