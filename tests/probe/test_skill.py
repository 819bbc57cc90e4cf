"""Confidences beside each other: pairs within a question by enumeration, constants by hand."""

import itertools

import numpy as np
import pytest

from polymode.metrics.selective import auroc
from polymode.probe.skill import CONSTANT, SLOT_CONSTANTS, auroc_within, skill


def test_pairs_within_a_question_are_those_of_an_enumeration() -> None:
    rng = np.random.default_rng(1)
    q_N, y_N = rng.integers(0, 4, 60) / 4, rng.integers(0, 2, 60).astype(float)
    question_N = rng.integers(0, 9, 60)  # in no order, of different sizes
    pairs = [
        (q_N[i] > q_N[j]) + (q_N[i] == q_N[j]) / 2
        for i, j in itertools.permutations(range(60), 2)
        if question_N[i] == question_N[j] and y_N[i] > y_N[j]
    ]
    statistic = auroc_within(q_N, y_N, question_N, 9)
    assert statistic.n == len(pairs)
    assert statistic.finish(*(sums.sum() for sums in statistic.sums)) == pytest.approx(np.mean(pairs))
    one = auroc_within(q_N, y_N, np.zeros(60, int), 1)  # one question: the pooled AUROC
    assert one.finish(*(sums.sum() for sums in one.sums)) == pytest.approx(auroc(q_N, y_N))


def test_a_table_by_hand() -> None:
    """Question a: right .9, wrong .2; question b: right .6, right .3.

    Within: one pair of a, ordered: 1. Pooled: .2 is below .9, .6 and .3: 1. Brier: (.01 + .04 + .16 + .49) / 4 = .175.
    Best constant 3/4: .1875. By slot: slot 0 is right twice (0), slot 1 once of two (.25): .125.
    """
    q_N, y_N = np.array([0.9, 0.2, 0.6, 0.3]), np.array([1.0, 0, 1, 1])
    table = skill(
        {"q": q_N}, y_N, ["a", "a", "b", "b"], np.array([0, 1, 0, 1]), rng=np.random.default_rng(0), n_boot=50
    )
    assert {name: estimate.value for name, estimate in table["q"].items()} == pytest.approx(
        {"within": 1.0, "pooled": 1.0, "brier": 0.175}
    )
    assert table["q"]["within"].n == 1 and table["q"]["brier"].n == 4
    assert table[CONSTANT]["brier"].value == pytest.approx(0.1875)
    assert table[SLOT_CONSTANTS]["brier"].value == pytest.approx(0.125)


def test_one_verdict_has_no_ranking() -> None:
    table = skill({"q": np.array([0.1, 0.9])}, np.ones(2), [1, 2], np.zeros(2, int), rng=np.random.default_rng(0))
    assert np.isnan(table["q"]["within"].value) and np.isnan(table["q"]["pooled"].value)
    assert table[CONSTANT]["brier"].value == 0
