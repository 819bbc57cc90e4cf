"""DCPO's credit by hand, and what its score of a confidence is best at."""

import numpy as np
import pytest

from polymode.credit import EPSILON, SlotScores, dcpo_advantages
from polymode.errors import ConfigError

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


def test_with_the_own_verdict_alone_certainty_beats_honesty() -> None:
    """Right with .7: an absolute error of .7 (1 - q) + .3 q falls in q, so 1 is better than .7."""
    p, q = 0.7, np.linspace(0, 1, 11)
    hits, misses = ([-np.abs(value - label) for value in q] for label in (1.0, 0.0))
    assert q[np.argmax(p * np.array(hits) + (1 - p) * np.array(misses))] == 1
    with pytest.raises(ConfigError, match="own_share = 2 must be from 0"):
        dcpo_advantages(scores([[1], [0]], [[0.9], [0.5]]), 2, own_share=2)
