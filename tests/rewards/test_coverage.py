"""Aggregations of hits: hand-worked values, and the expected best match against draws of its weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.rewards.coverage import AGGREGATIONS, best_match, coverage_value, least_gain

steady = settings(derandomize=True)
alphas = st.sampled_from([0.01, 0.5, 1.0, 2.0, 30.0])


def test_two_references_found_of_four_by_three_answers() -> None:
    found = {name: coverage_value(name, 2, k=3, n=4) for name in AGGREGATIONS}
    # vector: (1 + 1/2) / 4
    assert found == pytest.approx({"count": 2, "any": 1, "count/K": 2 / 3, "count/N": 0.5, "vector": 0.375})


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_nothing_found_is_worth_nothing(name: str) -> None:
    assert coverage_value(name, 0, k=3, n=4) == 0
    assert coverage_value(name, 0, k=3, n=0) == 0  # a question declared unanswerable


@pytest.mark.parametrize("name", ["count", "any", "count/N", "vector"])
def test_with_one_reference_they_are_the_same(name: str) -> None:
    assert coverage_value(name, 1, k=3, n=1) == 1


@pytest.mark.parametrize(("m", "n", "alpha"), [(1, 5, 0.3), (2, 5, 0.3), (3, 4, 1.0), (4, 4, 1.0), (2, 6, 3.0)])
def test_the_best_match_is_the_mean_over_drawn_weights(m: int, n: int, alpha: float) -> None:
    # One row for each answer: m answers that match different references, and one that matches none.
    matches_KN = np.vstack([np.eye(n)[:m], np.zeros(n)])
    weights_SN = np.random.default_rng(0).dirichlet([alpha] * n, 200_000)
    best_S = (weights_SN @ matches_KN.T).max(axis=1)
    assert best_match(m, n, alpha) == pytest.approx(best_S.mean(), abs=4 * best_S.std() / math.sqrt(len(best_S)))


def test_the_best_match_in_closed_form() -> None:
    # Largest of three exponentials: 1 + 1/2 + 1/3 = 11/6.
    assert best_match(3, 4) == pytest.approx(11 / 24)
    # Gamma(2), with P(x > t) = e^-t (1 + t): the smaller of two has mean ∫ e^-2t (1 + t)² = 1/2 + 2/4 + 2/8 = 1.25, the
    # larger 2 x 2 - 1.25 = 2.75.
    assert best_match(2, 5, 2.0) == pytest.approx(2.75 / 10, rel=1e-9)
    # All four coordinates of two: the larger of w and 1 - w, w ~ Beta(1/2, 1/2): 1/2 + 1/π.
    assert best_match(2, 2, 0.5) == pytest.approx(0.5 + 1 / math.pi, rel=1e-9)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_best_match_lies_between_share_found_and_any(m: int) -> None:
    assert best_match(m, 5, 1e-3) == pytest.approx(m / 5, rel=2e-2)  # one reference has all the weight
    assert best_match(m, 5, 1e4) == pytest.approx(1 / 5, rel=2e-2)  # all references weigh the same


@steady
@given(st.sampled_from(AGGREGATIONS), st.integers(1, 8), st.integers(1, 8), alphas)
def test_more_is_never_worth_less_and_the_least_gain_is_the_last(name: str, k: int, n: int, alpha: float) -> None:
    values = [coverage_value(name, m, k=k, n=n, alpha=alpha) for m in range(min(k, n) + 1)]
    gains = np.diff(values)
    assert (gains >= -1e-12).all()
    assert least_gain(name, k=k, n=n, alpha=alpha) == pytest.approx(min(gains), abs=1e-9)
    if name != "count":
        assert 0 <= values[0] <= values[-1] <= 1 + 1e-9
    if name == "vector" and alpha == 1:
        assert min(gains) == pytest.approx(1 / (n * min(k, n)))
