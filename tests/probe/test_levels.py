"""The level of held-out logits: mean probability equals mean label, slot by slot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from polymode.errors import RecordError
from polymode.probe.levels import fit_levels, levels_of_folds

RNG = np.random.default_rng(5)


def test_slope_and_intercept_are_those_of_platt() -> None:
    z_N = RNG.standard_normal(300) * 3
    y_N = (RNG.random(300) < 1 / (1 + np.exp(1 - 0.4 * z_N))).astype(float)
    levels = fit_levels(z_N, y_N)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(z_N[:, None], y_N)
    assert levels.slope == pytest.approx(theirs.coef_[0, 0], abs=1e-4)
    assert levels.intercept_K == pytest.approx(theirs.intercept_, abs=1e-4)


@given(st.integers(0, 10_000))
def test_the_mean_of_each_slot_is_that_of_its_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slot_N = rng.integers(0, 3, 60)
    y_N = np.where(slot_N == 2, rng.random(60), rng.integers(0, 2, 60))  # the last slot has soft labels
    y_N[:6], slot_N[:6] = [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2]
    z_N = rng.standard_normal(60) * 10.0 ** rng.integers(-3, 3)
    p_N = fit_levels(z_N, y_N, slot_N)(z_N, slot_N)
    for slot in range(3):
        assert p_N[slot_N == slot].mean() == pytest.approx(y_N[slot_N == slot].mean(), abs=1e-6)


def test_logits_that_point_the_wrong_way_say_nothing() -> None:
    y_N = np.array([0.0, 0, 1, 1, 1])
    levels = fit_levels(-y_N + np.arange(5) / 100, y_N)
    assert levels.slope == 0
    assert levels(np.array([-9.0, 9.0])) == pytest.approx([0.6, 0.6], abs=1e-6)


def test_a_slot_of_one_verdict_has_half_a_label_more() -> None:
    """Three wrong answers in slot 2: (0 + 1/2) / (3 + 1) = 1/8, not 0."""
    z_N, y_N, slot_N = np.zeros(7), np.array([0.0, 1, 1, 1, 0, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 1])
    levels = fit_levels(z_N, y_N, slot_N)
    assert levels(np.zeros(2), np.array([0, 1])) == pytest.approx([0.75, 0.125], abs=1e-6)


def test_a_slot_without_labels_is_refused() -> None:
    levels = fit_levels(np.zeros(4), np.array([0.0, 1, 0, 1]), np.array([0, 0, 2, 2]))
    for slot in (1, 3):
        with pytest.raises(RecordError, match=rf"slot {slot + 1} has no level.*slots 1, 3$"):
            levels(np.zeros(1), np.array([slot]))


def test_a_slot_whose_labels_lie_in_one_fold_has_the_level_of_all_slots_there() -> None:
    y_N = np.array([0.0, 1, 1, 0, 1, 1, 1])
    slot_N, fold_N = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1])
    without_first, without_second = levels_of_folds(np.zeros(7), y_N, slot_N, fold_N)
    # Fold 1 has a wrong answer in slot 0 and three right ones in slot 1: (0 + 1/2) / 2 and (3 + 1/2) / 4.
    assert without_first(np.zeros(2), np.array([0, 1])) == pytest.approx([0.25, 0.875], abs=1e-6)
    # Fold 0 has nothing in slot 1: two of three of all are right.
    assert without_second(np.zeros(2), np.array([0, 1])) == pytest.approx([2 / 3, 2 / 3], abs=1e-6)
