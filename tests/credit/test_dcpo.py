"""DCPO's credit by hand, and what its score of a confidence is best at."""

import numpy as np

from polymode.credit import EPSILON, SlotScores, dcpo_advantages

NAN = float("nan")


def scores(y, q) -> SlotScores:
    y, q = np.array(y, float), np.array(q, float)
    s, hit, miss = (-((q - label) ** 2) / y.shape[1] for label in (y, 1, 0))
    return SlotScores(np.nansum(y, 1) + np.nansum(s, 1) + 1, y, s, y, hit, miss, q, np.zeros(len(y)))


def test_two_completions_by_hand() -> None:
    """K = 1, one group, y = 1, 0, q = .9, .5. Answers: A = 2, 1, deviation sqrt(1/2).

    The group's rate is 1/2, so the targets are .75 and .25: B = -.15, -.25, mean -.2, deviation sqrt(.005).
    """
    found = dcpo_advantages(scores([[1], [0]], [[0.9], [0.5]]), 2)
    answer, confidence = 0.5 / (0.5**0.5 + EPSILON), 0.05 / (0.005**0.5 + EPSILON)
    np.testing.assert_allclose(found, [[answer, answer, confidence], [-answer, -answer, -confidence]])


def test_malformed_completions_get_the_answers_credit_everywhere_and_unscored_ones_none() -> None:
    given = scores([[1], [0], [NAN], [NAN]], [[0.9], [0.5], [NAN], [NAN]])
    given.total_N[2:] = 0, NAN
    found = dcpo_advantages(given, 4)
    # A = 2, 1, 0: mean 1, deviation 1. The rate is over the two with slots.
    np.testing.assert_allclose(found[2], -1 / (1 + EPSILON))
    np.testing.assert_allclose(found[3], 0)
    np.testing.assert_allclose(found[:2, 2], dcpo_advantages(scores([[1], [0]], [[0.9], [0.5]]), 2)[:, 2])
