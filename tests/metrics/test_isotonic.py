"""The isotonic reliability curve against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from polymode.errors import RecordError
from polymode.metrics import isotonic_reliability


@pytest.mark.parametrize("decimals", [1, 12])
def test_steps_are_those_of_scikit_learn(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    q = np.round(rng.random(300), decimals)
    y = (rng.random(300) < q**2).astype(float)
    curve = isotonic_reliability(q, y)
    theirs = IsotonicRegression().fit_transform(q, y)
    rates, counts = np.unique(np.round(theirs, 9), return_counts=True)
    assert curve.frequency == pytest.approx(rates)
    assert curve.count.tolist() == counts.tolist()
    assert curve.confidence == pytest.approx([q[np.round(theirs, 9) == rate].mean() for rate in rates])


def test_equal_confidences_are_one_step_whatever_their_order() -> None:
    curve = isotonic_reliability([0.5, 0.5, 0.5, 0.9], [1, 0, 0, 1])
    assert [a.tolist() for a in curve] == [[0.5, 0.9], [pytest.approx(1 / 3), 1.0], [3.0, 1.0]]


def test_confidences_that_are_upside_down_have_one_step_at_the_mean() -> None:
    curve = isotonic_reliability([0.1, 0.9], [1, 0])
    assert [a.tolist() for a in curve] == [[0.5], [0.5], [2.0]]


def test_nothing_observed_has_no_steps_and_bad_input_is_named() -> None:
    assert [len(a) for a in isotonic_reliability([], [])] == [0, 0, 0]
    assert [len(a) for a in isotonic_reliability([np.nan], [1])] == [0, 0, 0]
    with pytest.raises(RecordError, match="q: 1.5"):
        isotonic_reliability([1.5], [1])
