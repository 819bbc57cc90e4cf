"""DCPO's and CoCA's credit by hand, what their scores of a confidence are best at, and the order that each is for."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from polymode.credit import EPSILON, Order, SlotScores, coca_advantages, dcpo_advantages
from polymode.errors import RecordError

NAN = float("nan")


def scores(y, q, order=Order.INTERLEAVED) -> SlotScores:
    y, q = np.array(y, float), np.array(q, float)
    s, hit, miss = (-((q - label) ** 2) / y.shape[1] for label in (y, 1, 0))
    order_N = np.full(len(y), float(order))
    return SlotScores(np.nansum(y, 1) + np.nansum(s, 1) + 1, y, s, y, hit, miss, q, order_N)


def test_dcpo_of_two_completions_by_hand() -> None:
    """K = 1, one group, y = 1, 0, q = .9, .5. Answers: A = 2, 1, deviation sqrt(1/2).

    The group's rate is 1/2, so the targets are .75 and .25: B = -.15, -.25, mean -.2, deviation sqrt(.005).
    """
    found = dcpo_advantages(scores([[1], [0]], [[0.9], [0.5]]), 2)
    answer, confidence = 0.5 / (0.5**0.5 + EPSILON), 0.05 / (0.005**0.5 + EPSILON)
    np.testing.assert_allclose(found, [[answer, answer, confidence], [-answer, -answer, -confidence]])


def test_coca_of_two_completions_by_hand() -> None:
    """K = 2, one group, y = 10, 11, q = (.9, .1), (.5, .3). Answers: A = 2, 3, deviation sqrt(1/2).

    Rates 1 and 1/2. Slot 1: B = -.01, -.25, +-.12 around the mean, deviation .12 sqrt(2). Slot 2, whatever its own
    verdict: B = -.16, -.04, -+.06 around the mean, deviation .06 sqrt(2).
    """
    found = coca_advantages(scores([[1, 0], [1, 1]], [[0.9, 0.1], [0.5, 0.3]], Order.CONFIDENCE_FIRST), 2)
    answer, one, two = (x / (x * 2**0.5 + EPSILON) for x in (0.5, 0.12, 0.06))
    np.testing.assert_allclose(found, [[-answer] * 3 + [one, -two], [answer] * 3 + [-one, two]])


def test_coca_rates_are_of_the_own_group() -> None:
    """The same confidences; in the first group nobody is right, in the second all are: the other one is better."""
    given = scores([[0], [0], [1], [1]], [[0.2], [0.6], [0.2], [0.6]], Order.CONFIDENCE_FIRST)
    confidence = coca_advantages(given, 2)[:, 2]
    assert confidence[0] > 0 > confidence[1] and confidence[2] < 0 < confidence[3]


def test_the_best_confidence_of_coca_is_the_probability_of_a_right_answer() -> None:
    """Three completions with p = .3, every outcome with its probability: the mean of -(q - rate)^2 is highest at .3."""
    grid = np.linspace(0, 1, 101)
    mean = np.zeros(len(grid))
    for y in product((0, 1), repeat=3):
        mean -= np.prod([0.3 if one else 0.7 for one in y]) * (grid - np.mean(y)) ** 2
    assert grid[mean.argmax()] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("credit", "order"), [(dcpo_advantages, Order.INTERLEAVED), (coca_advantages, Order.CONFIDENCE_FIRST)]
)
def test_malformed_completions_get_the_answers_credit_everywhere_and_unscored_ones_none(credit, order) -> None:
    given = scores([[1], [0], [NAN], [NAN]], [[0.9], [0.5], [NAN], [NAN]], order)
    given.total_N[2:] = 0, NAN
    found = credit(given, 4)
    # A = 2, 1, 0: mean 1, deviation 1. The rate is over the two with slots.
    np.testing.assert_allclose(found[2], -1 / (1 + EPSILON))
    np.testing.assert_allclose(found[3], 0)
    np.testing.assert_allclose(found[:2, 2], credit(scores([[1], [0]], [[0.9], [0.5]], order), 2)[:, 2])


@pytest.mark.parametrize(
    ("credit", "own", "other"),
    [
        (dcpo_advantages, Order.INTERLEAVED, Order.CONFIDENCE_FIRST),
        (dcpo_advantages, Order.BLOCKED, Order.CONFIDENCE_FIRST),
        (coca_advantages, Order.CONFIDENCE_FIRST, Order.INTERLEAVED),
        (coca_advantages, Order.CONFIDENCE_FIRST, Order.BLOCKED),
    ],
)
def test_a_completion_in_another_order_gets_the_answers_credit_everywhere(credit, own, other) -> None:
    given = scores([[1], [0], [1]], [[0.9], [0.5], [0.1]], own)
    mixed = replace(given, order_N=np.array([own, own, other], float))
    found = credit(mixed, 3)
    np.testing.assert_allclose(found[:, :2], credit(given, 3)[:, :2])  # the answers' credit knows no order
    assert found[2, 2] == found[2, 0]
    np.testing.assert_allclose(found[:2, 2], credit(scores([[1], [0]], [[0.9], [0.5]], own), 2)[:, 2])


def test_groups_that_are_not_whole_are_refused() -> None:
    with pytest.raises(RecordError, match="group = 3 does not divide"):
        coca_advantages(scores([[1], [0]], [[0.9], [0.5]], Order.CONFIDENCE_FIRST), 3)
