"""Confidences beside each other, by hand."""

import numpy as np
import pytest

from polymode.probe.skill import CONSTANT, SLOT_CONSTANTS, skill


def test_a_table_by_hand() -> None:
    """Question a: right .9, wrong .2; question b: right .6, right .3.

    Within: one pair of a, ordered: 1. Pooled: .2 is below .9, .6 and .3: 1. Brier: (.01 + .04 + .16 + .49) / 4 = .175.
    Best constant, over pairs of different questions: right 1 and 2 of 2 and 2: (1 * 0 + 2 * 1) / (2 * 2 * 2) = 1/4.
    By slot: slot 0 is right twice (0), slot 1 once of two: (0 * 0 + 1 * 1) / 2; so (0 + 1/2) / 2 = 1/4.
    """
    q_N, y_N = np.array([0.9, 0.2, 0.6, 0.3]), np.array([1.0, 0, 1, 1])
    table = skill(
        {"q": q_N}, y_N, ["a", "a", "b", "b"], np.array([0, 1, 0, 1]), rng=np.random.default_rng(0), n_boot=50
    )
    assert {name: estimate.value for name, estimate in table["q"].items()} == pytest.approx(
        {"within": 1.0, "pooled": 1.0, "brier": 0.175}
    )
    assert table["q"]["within"].n == 2 and table["q"]["brier"].n == 4
    assert table[CONSTANT]["brier"].value == pytest.approx(0.25)
    assert table[SLOT_CONSTANTS]["brier"].value == pytest.approx(0.25)


def test_one_verdict_has_no_ranking() -> None:
    table = skill({"q": np.array([0.1, 0.9])}, np.ones(2), [1, 2], np.zeros(2, int), rng=np.random.default_rng(0))
    assert np.isnan(table["q"]["within"].value) and np.isnan(table["q"]["pooled"].value)
    assert table[CONSTANT]["brier"].value == 0
