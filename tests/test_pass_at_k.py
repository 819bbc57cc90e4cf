"""Pass@k: every subset counted, the gradient by enumeration, and that TRL's centring gives the advantages."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.credit import EPSILON, group_advantages
from polymode.errors import ConfigError, RecordError
from polymode.pass_at_k import pass_at_k_advantages, pass_at_k_values, union_values

steady = settings(derandomize=True)


def test_by_hand() -> None:
    # One right of four, pairs: a wrong one is in three pairs, one of them with the right one.
    assert pass_at_k_values([1, 0, 0, 0], 2) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    # Three of six pairs hold the right one: R = 1/2.
    assert pass_at_k_advantages([1, 0, 0, 0], 2) == pytest.approx([1 / 2, -1 / 6, -1 / 6, -1 / 6])
    # Two right of four, pairs: a wrong one has 2 of 3 good partners; 5 of 6 pairs are good.
    assert pass_at_k_advantages([[1, 0, 1, 0]], 2) == pytest.approx(np.array([[1, -1, 1, -1]]) / 6)
    # Three right: any pair holds one, so the wrong one is worth as much.
    assert pass_at_k_advantages([1, 1, 1, 0], 2) == pytest.approx([0, 0, 0, 0])


def test_as_published() -> None:
    # arXiv 2508.10751: A+ = (1 - R) / s, A- = (1 - R - C(W - 1, k - 1) / C(G - 1, k - 1)) / s, s = √(R (1 - R)).
    g, w, k = 8, 6, 3
    mean = 1 - math.comb(w, k) / math.comb(g, k)
    deviation = math.sqrt(mean * (1 - mean))
    expected = [(1 - mean) / deviation] * 2
    expected += [(1 - mean - math.comb(w - 1, k - 1) / math.comb(g - 1, k - 1)) / deviation] * 6
    found = pass_at_k_advantages([1, 1, 0, 0, 0, 0, 0, 0], k, scale="group")
    assert found == pytest.approx(np.array(expected) * deviation / (deviation + EPSILON))


groups = st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=7)


@steady
@given(groups, st.integers(1, 7))
def test_every_subset_counted(right, k: int) -> None:
    scored = [g for g, r in enumerate(right) if r is not None]
    subsets = list(combinations(scored, min(k, len(scored))))
    best = {subset: max((right[g] for g in subset), default=0) for subset in subsets}
    values = pass_at_k_values(right, k)
    for g, r in enumerate(right):
        own = [score for subset, score in best.items() if g in subset]
        assert values[g] == pytest.approx(np.mean(own)) if r is not None else np.isnan(values[g])
    if k < len(right):
        mean = np.mean(list(best.values()))
        expected = [0.0 if r is None else values[g] - mean for g, r in enumerate(right)]
        assert pass_at_k_advantages(right, k) == pytest.approx(expected, abs=1e-12)


@steady
@given(st.lists(st.lists(st.sampled_from([0, 1, None]), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_centring_the_values_gives_the_advantages(right, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 5))
    advantages = pass_at_k_advantages(right, k)
    assert group_advantages(pass_at_k_values(right, k)) == pytest.approx(advantages, abs=1e-12)
    assert advantages.sum(axis=1) == pytest.approx(0, abs=1e-12)
    for group, row in zip(right, advantages, strict=True):
        assert all(row[g] >= -1e-12 for g, r in enumerate(group) if r == 1)
        assert all(row[g] <= 1e-12 for g, r in enumerate(group) if r == 0)


def test_of_one_it_is_the_usual_centring() -> None:
    assert pass_at_k_advantages([1, 0, 0, 1, 0], 1) == pytest.approx(group_advantages([1, 0, 0, 1, 0]))


@pytest.mark.parametrize(("g", "k"), [(4, 1), (4, 2), (5, 3), (6, 5)])
def test_the_expected_gradient_is_that_of_pass_at_k(g: int, k: int) -> None:
    # Completions are right with p = 1 / (1 + e^-θ); d log π / dθ is 1 - p for a right one, -p for a wrong one.
    p = 0.3
    expected = 0.0
    for right in product((0, 1), repeat=g):
        chance = p ** sum(right) * (1 - p) ** (g - sum(right))
        scores = np.where(np.array(right) == 1, 1 - p, -p)
        expected += chance * float(pass_at_k_advantages(right, k) @ scores) / g
    # pass@k = 1 - (1 - p)^k, dp/dθ = p (1 - p).
    gradient = k * (1 - p) ** (k - 1) * p * (1 - p)
    assert expected == pytest.approx((1 / k - 1 / g) * gradient, abs=1e-12)


@steady
@given(st.lists(st.integers(0, 1), min_size=3, max_size=8), st.data())
def test_up_to_a_constant_it_is_the_leave_one_out_advantage(right: list[int], data: st.DataObject) -> None:
    g = len(right)
    k = data.draw(st.integers(1, g - 1))

    def estimate(rights: list[int]) -> float:
        return 1 - math.comb(rights.count(0), k) / math.comb(len(rights), k)

    values = pass_at_k_values(right, k)
    others = [values[i] - estimate(right[:i] + right[i + 1 :]) for i in range(g)]
    assert pass_at_k_advantages(right, k) == pytest.approx((1 - k / g) * np.array(others), abs=1e-12)


def test_large_groups_do_not_overflow() -> None:
    right = np.zeros(4096)
    right[0] = 1
    values = pass_at_k_values(right, 1024)
    # The right one is among the 1023 others of a subset with chance 1023 / 4095.
    assert values[1] == pytest.approx(1023 / 4095)


def test_unscored_completions_and_small_groups() -> None:
    assert np.isnan(pass_at_k_values([None, None], 2)).all()
    assert pass_at_k_advantages([[None, 1, None], [None, None, None]], 2).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert pass_at_k_values([1, None, 0], 2)[[0, 2]].tolist() == [1, 1]  # the one subset that there is
    assert pass_at_k_values(np.empty((0, 4)), 2).shape == (0, 4)


def test_references_found_together() -> None:
    # Completions find {0, 1}, {0}, {}, unscored; pairs of the first three.
    found = np.array([[1, 1], [1, 0], [0, 0], [np.nan, np.nan]])
    # Pairs: 0 and 1 find 2, 0 and 2 find 2, 1 and 2 find 1. Means: 2, 1.5, 1.5.
    assert union_values(found, 2) == pytest.approx([2, 1.5, 1.5, np.nan], nan_ok=True)
    assert union_values(found, 1) == pytest.approx([2, 1, 0, np.nan], nan_ok=True)
    assert union_values(np.zeros((3, 0)), 2).tolist() == [0, 0, 0]


@steady
@given(st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=2, max_size=6), st.data())
def test_references_found_by_every_subset(found, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(found)))
    subsets = {s: int(np.array(found)[list(s)].max(axis=0).sum()) for s in combinations(range(len(found)), k)}
    expected = [np.mean([n for s, n in subsets.items() if g in s]) for g in range(len(found))]
    assert union_values(found, k) == pytest.approx(expected)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="k = 0 is not allowed: use a whole number from 1"):
        pass_at_k_values([1, 0], 0)
    with pytest.raises(ConfigError, match="k = 2 with groups of 2: all completions would be worth the same"):
        pass_at_k_advantages([1, 0], 2)
    with pytest.raises(ConfigError, match="scale = 'batch' is not known: use one of none, group"):
        pass_at_k_advantages([1, 0, 0], 2, scale="batch")
    with pytest.raises(RecordError, match="only true"):
        pass_at_k_values([0.5, 1], 1)
    with pytest.raises(RecordError, match="every group with the same number"):
        pass_at_k_values([[1], [1, 0]], 1)
    with pytest.raises(RecordError, match=r"shape \(1, 1, 1\)"):
        pass_at_k_values([[[1]]], 1)
    with pytest.raises(RecordError, match=r"shape \(2,\)"):
        union_values([1, 0], 1)
