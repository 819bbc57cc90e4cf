"""Advantages: hand-worked groups, and why a calibrated reward is not divided by its group's deviation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.credit import EPSILON, SCALES, group_advantages
from polymode.errors import ConfigError, RecordError


def test_centred_per_group() -> None:
    # Means 2 and 4.
    assert group_advantages([[1.0, 2.0, 3.0], [4.0, 0.0, 8.0]]).tolist() == [[-1, 0, 1], [0, -4, 4]]
    assert group_advantages([1.0, 2.0, 6.0]).tolist() == [-2, -1, 3]


def test_unscored_completions_have_no_advantage_and_do_not_count() -> None:
    # Means of the scored: (1 + 3) / 2 = 2; 5; none.
    totals = [[1.0, None, 3.0], [math.nan, 5.0, None], [None, None, None]]
    assert group_advantages(totals).tolist() == [[-1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert group_advantages([None, 1, 3]).tolist() == [0, -1, 1]
    for scale in SCALES:
        assert np.isfinite(group_advantages(totals, scale=scale)).all()


def test_batch_scale_divides_by_the_deviation_of_all_scores() -> None:
    # Scores 0, 2, 4, 6 (one unscored): mean 3, squares 9 + 1 + 1 + 9 = 20, over n - 1 = 3.
    deviation = math.sqrt(20 / 3)
    found = group_advantages([[0, 2, None], [4, 6, None]], scale="batch", calibrated=True)
    assert found == pytest.approx(np.array([[-1, 1, 0], [-1, 1, 0]]) / (deviation + EPSILON))
    # The same divisor for every group keeps the ratio of advantages between groups.
    wide = group_advantages([[0, 1], [0, 3]], scale="batch")
    assert wide[1, 1] / wide[0, 1] == pytest.approx(3)


def test_group_scale_divides_by_each_groups_deviation() -> None:
    # Group 1: 0, 2, deviation sqrt(2); group 2: 0, 6, deviation sqrt(18).
    found = group_advantages([[0, 2, None], [0, 6, None]], scale="group")
    expected = [
        [-1 / (2**0.5 + EPSILON), 1 / (2**0.5 + EPSILON), 0],
        [-3 / (18**0.5 + EPSILON), 3 / (18**0.5 + EPSILON), 0],
    ]
    assert found == pytest.approx(np.array(expected))


@pytest.mark.parametrize("scale", SCALES)
def test_equal_scores_give_no_advantage(scale: str) -> None:
    assert group_advantages([[2.0, 2.0], [2.0, 2.0]], scale=scale).tolist() == [[0, 0], [0, 0]]
    assert group_advantages([[2.0]], scale=scale).tolist() == [[0]]
    assert group_advantages(np.empty((0, 4)), scale=scale).shape == (0, 4)


def test_dividing_a_calibrated_reward_by_its_groups_deviation_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"scale = 'group' with a calibrated reward.*use 'none' or 'batch'"):
        group_advantages([1.0, 2.0], scale="group", calibrated=True)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="scale = 'std' is not known: use one of none, batch, group"):
        group_advantages([1.0], scale="std")
    with pytest.raises(RecordError, match="infinite score"):
        group_advantages([1.0, math.inf])
    with pytest.raises(RecordError, match=r"shape \(1, 1, 1\)"):
        group_advantages([[[1.0]]])
    with pytest.raises(RecordError, match="every group with the same number"):
        group_advantages([[1.0], [1.0, 2.0]])
    with pytest.raises(RecordError, match="give numbers or None"):
        group_advantages(["high"])


scores = st.none() | st.floats(-10, 10)


@settings(derandomize=True)
@given(st.lists(st.lists(scores, min_size=4, max_size=4), min_size=1, max_size=5), st.floats(-100, 100))
def test_advantages_sum_to_zero_and_ignore_a_constant(totals, shift: float) -> None:
    found = group_advantages(totals)
    assert found.sum(axis=1) == pytest.approx(0, abs=1e-9)
    shifted = [[None if r is None else r + shift for r in group] for group in totals]
    assert group_advantages(shifted) == pytest.approx(found, abs=1e-9)


def push(p: float, scale: str, g: int = 8) -> float:
    """Expected mean of advantage times +1 for confidence .95 and -1 for .70, by enumeration.

    Each of g completions states .70 or .95 with probability 1/2; all share one label, 1 with probability p; the reward
    is -(q - y)². With m completions at .95, probability C(g, m) / 2^g.
    """
    groups, sides, chances = [], [], []
    for y, chance in ((1, p), (0, 1 - p)):
        for m in range(g + 1):
            side = np.array([1] * m + [-1] * (g - m))
            groups.append(-((np.where(side > 0, 0.95, 0.70) - y) ** 2))
            sides.append(side)
            chances.append(chance * math.comb(g, m) / 2**g)
    advantages = group_advantages(groups, scale=scale)
    return float(np.array(chances) @ (advantages * np.array(sides)).mean(axis=1))


@pytest.mark.parametrize("p", [0.5, 0.6, 0.7, 0.8, 0.825, 0.9])
def test_per_group_deviation_rewards_overconfidence(p: float) -> None:
    # True value of .95 over .70: -p .05² - (1-p) .95² + p .3² + (1-p) .7² = .5 p - .4125, negative below p = .825.
    gap = 0.5 * p - 0.4125
    # Centred only, the push has the sign of the gap: gap (G - 1) / (2 G).
    assert push(p, "none") == pytest.approx(gap * 7 / 16, abs=1e-12)
    # Divided, it is .868 (2p - 1) for G = 8 (up to EPSILON): "more confident" whenever p > 1/2.
    assert push(p, "group") == pytest.approx(0.868 * (2 * p - 1), abs=3e-3)


def test_the_push_changes_sign_under_group_deviation() -> None:
    assert push(0.6, "none") == pytest.approx(-0.049, abs=5e-4)
    assert push(0.6, "group") == pytest.approx(0.174, abs=2e-3)  # .1736 with EPSILON = 0
    assert push(0.6, "batch") < 0
