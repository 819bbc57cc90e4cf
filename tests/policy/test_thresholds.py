"""Exact tests and limits, by hand and against scipy and MAPIE."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from polymode.policy import thresholds


def test_the_p_value_is_a_binomial_tail() -> None:
    # No failure in 3 at rate 1/2: 1/8. At most one in 3: (1 + 3) / 8. Nothing counted proves nothing.
    failed, n = np.array([0, 1, 3, 0]), np.array([3, 3, 3, 0])
    assert thresholds.p_values(failed, n, 0.5) == pytest.approx([1 / 8, 1 / 2, 1, 1])


@settings(max_examples=40)
@given(n=st.integers(1, 200), share=st.floats(0, 1), alpha=st.floats(0.01, 0.99), delta=st.floats(0.001, 0.5))
def test_the_limit_is_below_alpha_exactly_where_the_test_passes(
    n: int, share: float, alpha: float, delta: float
) -> None:
    failed = int(share * n)
    p = thresholds.p_values(np.array([failed]), np.array([n]), alpha)[0]
    limit = thresholds.upper_limit(failed, n, delta)
    if abs(p - delta) > 1e-9:
        assert (p <= delta) == (limit <= alpha)
    assert limit == pytest.approx(binomtest(failed, n).proportion_ci(1 - 2 * delta, method="exact").high, abs=1e-9)
    assert p == pytest.approx(binomtest(failed, n, alpha, alternative="less").pvalue, abs=1e-9)


def test_nothing_counted_has_no_limit() -> None:
    assert thresholds.upper_limit(0, 0, 0.05) == 1.0 == thresholds.upper_limit(4, 4, 0.05)


def test_a_fixed_sequence_stops_at_the_first_that_does_not_pass() -> None:
    assert thresholds.fixed_sequence(np.array([0.01, 0.05, 0.06, 0.0]), 0.05) == 2
    assert thresholds.fixed_sequence(np.array([0.2, 0.0]), 0.05) == 0
    assert thresholds.fixed_sequence(np.array([0.0, 0.0]), 0.05) == 2


def test_fewest_records() -> None:
    # 0.9^28 = 0.0523, 0.9^29 = 0.0471. 1 / (n + 1) <= 0.1 from n = 9.
    assert thresholds.records_to_test(0.1, 0.05) == 29
    assert thresholds.records_to_test(0.5, 0.25) == 2
    assert thresholds.records_to_conform(0.1) == 9 and thresholds.records_to_conform(0.3) == 3


@given(alpha=st.floats(0.001, 0.999), delta=st.floats(0.001, 0.999))
def test_fewest_records_are_enough_and_one_less_is_not(alpha: float, delta: float) -> None:
    n = thresholds.records_to_test(alpha, delta)
    assert (1 - alpha) ** n <= delta * (1 + 1e-6)
    assert n == 1 or (1 - alpha) ** (n - 1) > delta * (1 - 1e-6)
    m = thresholds.records_to_conform(alpha)
    assert 1 / (m + 1) <= alpha * (1 + 1e-6) and (m == 0 or 1 / m > alpha * (1 - 1e-6))


def test_p_values_and_conformal_levels_are_those_of_mapie() -> None:
    methods = pytest.importorskip("mapie.risk_control.methods")
    failed, n = np.array([0, 2, 7, 30]), np.array([40, 50, 64, 80])
    theirs = methods.compute_hoeffding_bentkus_p_value(failed / n, n, 0.1, binary=True)[:, 0]
    assert thresholds.p_values(failed, n, 0.1) == pytest.approx(theirs)
    losses = np.arange(64)[:, None] < np.array([30, 7, 2, 0])  # (records, thresholds)
    _, level = methods.get_r_hat_plus(losses.astype(float), np.arange(4.0), "crc", None, None, None)
    assert thresholds.conformal_level(losses.sum(axis=0), 64) == pytest.approx(level)


@pytest.mark.parametrize(("alpha", "limit", "n"), [(0.2, 0.15, 40), (0.1, 0.1, 30), (0.3, 0.05, 7), (0.25, 0.249, 90)])
def test_the_safe_level_is_the_largest_whose_mean_is_at_most_alpha(alpha: float, limit: float, n: int) -> None:
    b = np.arange(n + 2)
    mass = np.array([math.comb(n + 1, int(i)) * limit**i * (1 - limit) ** (n + 1 - i) for i in b])
    safe = [j for j in range(n + 1) if (np.maximum(j, b) * mass).sum() <= alpha * (n + 1) * (1 + 1e-12)]
    assert thresholds.safe_level(alpha, limit, n) == max(safe) / (n + 1)


def test_a_fixed_sequence_of_tests_is_that_of_mapie() -> None:
    risk_control = pytest.importorskip("mapie.risk_control")
    rng = np.random.default_rng(0)
    p = rng.beta(2, 1, 600)
    q, y = np.round(p, 2), (rng.random(600) < p).astype(int)
    levels, alpha, delta = np.arange(95, 4, -5) / 100, 0.2, 0.1
    theirs = risk_control.BinaryClassificationController(
        predict_function=lambda X: np.column_stack([1 - X[:, 0], X[:, 0]]),
        risk="precision",
        target_level=1 - alpha,
        confidence_level=1 - delta,
        list_predict_params=levels,
        fwer_method="fixed_sequence",
    ).calibrate(q[:, None], y)
    n = np.array([(q >= t).sum() for t in levels])
    failed = np.array([((q >= t) & (y == 0)).sum() for t in levels])
    passed = thresholds.fixed_sequence(thresholds.p_values(failed, n, alpha), delta)
    assert 0 < passed < len(levels)
    assert sorted(np.ravel(theirs.valid_predict_params)) == pytest.approx(sorted(levels[:passed]))


@given(st.lists(st.floats(1e-12, 20), min_size=1, max_size=30))
def test_every_candidate_is_reached_by_the_value_that_it_comes_from(values: list[float]) -> None:
    candidates = thresholds._candidates(np.array(values))
    assert (np.diff(candidates) < 0).all()
    for candidate in candidates.tolist():
        assert float(f"{candidate:.4g}") == candidate
        assert any(candidate - thresholds.TOLERANCE <= value <= candidate * 1.0011 + 1e-8 for value in values)
    assert max(values) >= candidates[0] - thresholds.TOLERANCE  # the confident ones are never all left out


def test_averages_that_go_on_after_four_digits_are_rounded_down() -> None:
    # (0.9 + 0.8 + 0.9) / 3 = 0.8666...; a threshold of 0.8667 would leave out all that have it
    values = np.array([2.6 / 3, 0.9, 0.1 + 0.2, 0.99997])
    assert thresholds._candidates(values).tolist() == [0.9999, 0.9, 0.8666, 0.3]
