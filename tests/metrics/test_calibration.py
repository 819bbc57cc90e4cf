"""Calibration against hand-worked numbers, scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error

from polymode.metrics import calibration, scores


def sample(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q = rng.uniform(0.0005, 0.9995, n)
    return q, (rng.random(n) < q**1.5).astype(float)


def test_stated_decimals_fall_into_the_bin_that_starts_with_them() -> None:
    # In binary 10 * 0.3 is 3 and 10 * 0.29 is 2.9, but 10 * (0.1 * 3) is 3.0000000000000004 and 10 * 0.7 is 7.
    grid = np.array([i / 20 for i in range(21)])
    assert calibration.width_bins(grid).tolist() == [min(i // 2, 9) for i in range(21)]
    assert calibration.width_bins(np.array([1 - 0.9, 0.1 * 3, 0.3])).tolist() == [1, 3, 3]


def test_ece_by_hand() -> None:
    # Bins: {.05, .05} y 0, 1 -> |.05 - .5| = .45, weight 2/4; {.95, 1.0} y 1, 1 -> |.975 - 1| = .025, weight 2/4.
    q, y = np.array([0.05, 0.05, 0.95, 1.0]), np.array([0.0, 1, 1, 1])
    assert calibration.ece(q, y) == pytest.approx(0.5 * 0.45 + 0.5 * 0.025)


def test_a_calibrated_constant_has_no_ece_and_no_resolution() -> None:
    q, y = np.full(4, 0.25), np.array([0.0, 0, 0, 1])
    parts = scores.brier_decomposition(q, y)
    assert calibration.ece(q, y) == pytest.approx(0)
    assert (parts.reliability, parts.resolution) == pytest.approx((0, 0))
    assert parts.brier == pytest.approx(0.1875)  # 1/4 * 3/4


def test_agrees_with_scikit_learn_and_torchmetrics() -> None:
    q, y = sample()
    assert scores.brier(q, y) == pytest.approx(brier_score_loss(y, q), abs=1e-9)
    assert scores.log_loss(q, y, eps=1e-4) == pytest.approx(log_loss(y, np.clip(q, 1e-4, 1 - 1e-4)), abs=1e-9)
    other = binary_calibration_error(torch.tensor(q), torch.tensor(y).int(), n_bins=10, norm="l1")
    assert calibration.ece(q, y) == pytest.approx(float(other), abs=1e-9)


def test_log_score_is_clipped() -> None:
    # A certain wrong answer costs -log(eps) = 6.9078 nats, not infinity.
    assert scores.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-3))


def test_mass_bins_hold_equal_numbers_and_keep_ties_together() -> None:
    assert np.bincount(calibration.mass_bins(sample(1000)[0])).tolist() == [100] * 10
    # 6 of 8 equal: nothing below the ties, so bin 0; the last two have 6 and 7 below them: floor(60/8), floor(70/8).
    assert calibration.mass_bins(np.array([0.1] * 6 + [0.5, 0.9])).tolist() == [0] * 6 + [7, 8]


def test_equal_mass_ece_by_hand() -> None:
    # Two bins of two: |.15 - .5| and |.75 - .5|, half each.
    q, y = np.array([0.1, 0.2, 0.7, 0.8]), np.array([0.0, 1, 0, 1])
    assert calibration.adaptive_ece(q, y, n_bins=2) == pytest.approx(0.5 * 0.35 + 0.5 * 0.25)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_brier_parts_add_up(pairs: list[tuple[float, int]]) -> None:
    q, y = np.array(pairs, dtype=float).T
    parts = scores.brier_decomposition(q, y)
    bins = calibration.width_bins(q)
    within = 0.0  # by its own formula, not as the remainder
    for b in set(bins.tolist()):
        qb, yb = q[bins == b], y[bins == b]
        within += np.sum((qb - qb.mean()) ** 2 - 2 * (qb - qb.mean()) * (yb - yb.mean()))
    assert parts.within == pytest.approx(within / len(q), abs=1e-12)
    assert parts.brier == pytest.approx(
        parts.reliability - parts.resolution + parts.uncertainty + within / len(q), abs=1e-12
    )


def test_debiasing_removes_most_of_the_bias_of_perfect_confidences() -> None:
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(200):
        q = rng.random(200)
        y = (rng.random(200) < q).astype(float)
        plain.append(calibration.ece(q, y))
        debiased.append(calibration.debiased_ece(q, y, np.arange(200)))
    assert np.mean(debiased) < 0.55 * np.mean(plain)


def test_debiased_ece_by_hand() -> None:
    # One bin, four questions of one answer.
    # y = 1, 0, 0, 0 at q = .55: r = -.45, .55, .55, .55; d = .3; s^2 = 4/3 (3 * .25^2 + .75^2) / 16 = .0625.
    q, y = np.full(4, 0.55), np.array([1.0, 0, 0, 0])
    assert calibration.debiased_ece(q, y, np.arange(4)) == pytest.approx(np.sqrt(0.3**2 - 0.0625))
    # The same four answers from one question are one observation, whose gap may all be noise.
    assert np.isnan(calibration.debiased_ece(q, y, np.zeros(4, dtype=int)))
    # A bin of one question is left out, whatever its gap.
    alone = calibration.debiased_ece(np.append(q, 0.95), np.append(y, 0.0), np.arange(5))
    assert alone == pytest.approx(np.sqrt(0.3**2 - 0.0625))


def test_debiasing_leaves_a_certain_gap_alone() -> None:
    # No variation within the bin: the gap .9 is known exactly.
    q, y = np.full(5, 0.9), np.zeros(5)
    assert calibration.debiased_ece(q, y, np.arange(5)) == pytest.approx(0.9)


def test_expected_hits_error_by_hand_and_at_k_1() -> None:
    # k = 3: sums .3 and 2.4 -> bins 1 and 8 of [0, 3]; |.3 - 1| and |2.4 - 2|, half each.
    error = calibration.expected_hits_error(np.array([0.3, 2.4]), np.array([1.0, 2]), np.array([3, 3]))
    assert error == pytest.approx((0.7 + 0.4) / 2)
    q, y = sample()
    at_one = calibration.expected_hits_error(q, y, np.ones(len(q)))
    assert at_one == pytest.approx(calibration.ece(q, y), abs=1e-12)


@pytest.mark.parametrize(
    "metric",
    [
        calibration.ece,
        calibration.adaptive_ece,
        scores.brier,
        scores.log_loss,
        lambda q, y: calibration.debiased_ece(q, y, np.zeros(0, dtype=int)),
        lambda q, y: scores.brier_decomposition(q, y).uncertainty,
    ],
)
def test_nothing_observed_is_undefined(metric) -> None:
    assert np.isnan(metric(np.zeros(0), np.zeros(0)))
