"""The expected advantages against enumerated gradients of tabular policies in which every choice sees all earlier ones.

With groups of two and one group a batch, every batch can be enumerated, so the expectation is exact. The policies and
the enumeration are those of `bench/tabular_credit.py`.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from math import factorial
from typing import Any

import numpy as np
import pytest

from polymode.credit import SlotScores, group_advantages, term_advantages

from ..bench_modules import load_bench


@pytest.fixture(scope="module")
def bench() -> Any:
    return load_bench("tabular_credit")


@pytest.fixture(scope="module")
def pairs(bench: Any) -> np.ndarray:
    return bench.pair_advantages(partial(term_advantages, later=1.0))


def test_the_expected_gradient_is_that_of_the_reward(bench: Any, pairs: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        policy = bench.Tabular(rng)
        for found, true in zip(bench.expected_gradient(policy, pairs), policy.gradient(), strict=True):
            assert np.linalg.norm(found - true) < 1e-9 * np.linalg.norm(true)


def test_by_default_confidences_alone_leave_out_later_slots(bench: Any, pairs: np.ndarray) -> None:
    """Everything else is the same; confidence 1 has the gradient of its own score."""
    own = bench.pair_advantages(term_advantages)
    np.testing.assert_allclose(np.delete(own, 3, -1), np.delete(pairs, 3, -1), atol=1e-12)
    rng = np.random.default_rng(2)
    for _ in range(20):
        policy = bench.Tabular(rng)
        found = bench.expected_gradient(policy, own)[2]
        true = (policy.p_C * (policy.stated_CLK[..., 0] @ policy.p_label)) @ policy.scores[2]
        np.testing.assert_allclose(found, true, atol=1e-12)


@pytest.mark.parametrize("later", [0.0, 1.0])
@pytest.mark.parametrize(("questions", "group"), [(1, 4), (3, 2), (8, 4)])
def test_no_baseline_holds_what_the_part_itself_causes(bench: Any, questions: int, group: int, later: float) -> None:
    """Whatever comes after a part, its advantage changes by (G - 1) / G of the change in the score, and by no more.

    So what is subtracted, coefficients that are fitted on the batch included, cannot move the expectation.
    """
    rng = np.random.default_rng(3)
    policy = bench.Tabular(rng)
    share = (group - 1) / group
    for _ in range(10):
        drawn, _ = policy.sample(rng, questions, group)
        labels = np.repeat(rng.choice(3, size=questions), group)
        for first_changed in range(1, 5):  # the first choice of completion 0 that is made anew: a1, q1, a2, q2
            other = drawn.copy()
            choices = bench.EVERY[drawn[0]].copy()
            choices[first_changed:] = rng.integers(bench.SIZES[first_changed:])
            other[0] = np.flatnonzero((choices == bench.EVERY).all(1))[0]
            before, after = (policy.slots(numbers, labels) for numbers in (drawn, other))
            part = bench.PARTS[first_changed]
            moved = [term_advantages(slots, group, later=later)[0, part] for slots in (before, after)]
            change = after.total_N[0] - before.total_N[0]
            if first_changed == 2 and not later:
                change = after.confidence_NK[0, 0] - before.confidence_NK[0, 0]
            assert moved[1] - moved[0] == pytest.approx(share * change, abs=1e-12)


def test_variance_is_below_that_of_one_advantage_for_all_tokens(bench: Any) -> None:
    rng = np.random.default_rng(4)
    policy = bench.Tabular(rng)

    def variances(credit: Any) -> np.ndarray:
        many = [bench.estimate(policy, rng, 16, 4, credit) for _ in range(400)]
        return np.array([np.stack(part).var(0).sum() for part in zip(*many, strict=True)])

    ratios = variances(term_advantages) / variances(bench.sequence)
    assert 0.8 < ratios[0] < 1.25  # the reasoning's advantage is the same (the samples differ)
    assert ratios[1] < 1.15 and ratios[3] < 0.9  # answer 1 has all to come, answer 2 loses the past
    assert max(ratios[2], ratios[4]) < 0.3


def order_gradient(p: tuple[float, float], later_scores: bool) -> float:
    """Expected advantage of giving answer 1 first, minus that of answer 2 first, with honest confidences.

    The two answers are right independently with p, one group of two completions, which choose an order each, at random;
    the other answer follows. Enumerated over both verdicts and orders.
    """
    found = 0.0
    for right in product((0, 1), repeat=2):
        weight = np.prod([chance if y else 1 - chance for chance, y in zip(p, right, strict=True)])
        for orders in product((0, 1), repeat=2):
            y = np.array([[right[first], right[1 - first]] for first in orders], float)
            q = np.array([[p[first], p[1 - first]] for first in orders])
            s, hit, miss = (-((q - label) ** 2) / 2 for label in (y, 1.0, 0.0))
            total = y.sum(1) + s.sum(1) if later_scores else y.sum(1) + s[:, 0]
            slots = SlotScores(total, y, s, y, hit, miss, q, np.zeros(2))
            advantage = term_advantages(slots, 2)[0, 1]
            found += float(weight) / 4 * advantage * (1 if orders[0] == 0 else -1)
    return found


@pytest.mark.parametrize("p", [(0.9, 0.5), (0.5, 0.9), (0.3, 0.05), (1.0, 0.5)])
def test_no_order_of_two_answers_is_preferred_when_both_are_given(p: tuple[float, float]) -> None:
    """The set is the same in either order, so its score is. Credit for its own confidence alone would prefer the
    answer with the smaller p (1 - p) first."""
    assert order_gradient(p, later_scores=True) == pytest.approx(0, abs=1e-12)
    doubt = [chance * (1 - chance) for chance in p]
    assert order_gradient(p, later_scores=False) * (doubt[1] - doubt[0]) > 0


def test_a_rare_error_is_learnt_from() -> None:
    """K = 1, an answer that is right with .9, stated as .8, .9 or .95 with a third each, one group of four, enumerated.

    The expected advantage of each value is its expected score, -(q - .9)^2 to a constant. A miss is alone in 29% of
    the batches; without a baseline for it, it would count nothing there and .95 be preferred to .9.
    """
    values, p = np.array([0.8, 0.9, 0.95]), 0.9
    kinds = list(product(range(3), (0.0, 1.0)))
    chances = np.array([(p if y else 1 - p) / 3 for _, y in kinds])
    mean, of_others_alone = np.zeros(3), np.zeros(3)
    for own, *others in product(range(6), repeat=4):
        if others != sorted(others):
            continue  # the order of the others does not matter
        weight = factorial(3) / np.prod([factorial(others.count(kind)) for kind in set(others)])
        q, y = (np.array([kinds[kind][column] for kind in (own, *others)]) for column in (0, 1))
        q, y = values[q.astype(int)][:, None], y[:, None]
        s, hit, miss = (-((q - label) ** 2) for label in (y, 1.0, 0.0))
        given = SlotScores(s[:, 0], 0 * s, s, y, hit, miss, q, np.zeros(4))
        advantage = term_advantages(given, 4)[0, 2] / (3 / 4)
        chosen = kinds[own][0]
        mean[chosen] += 3 * chances[own] * weight * np.prod(chances[others]) * advantage
        if (y[1:] == y[0]).any():
            of_others_alone[chosen] += 3 * chances[own] * weight * np.prod(chances[others]) * advantage
    expected = -((values - p) ** 2)
    np.testing.assert_allclose(mean - mean.mean(), expected - expected.mean(), atol=1e-12)
    assert of_others_alone.argmax() == 2  # what it would be without lonely verdicts


def test_sequence_has_the_same_expectation(bench: Any) -> None:
    policy = bench.Tabular(np.random.default_rng(6))
    pairs = bench.pair_advantages(
        lambda slots, group: np.repeat(group_advantages(slots.total_N.reshape(-1, group)).reshape(-1, 1), 5, 1)
    )
    for found, true in zip(bench.expected_gradient(policy, pairs), policy.gradient(), strict=True):
        np.testing.assert_allclose(found, true, atol=1e-12)
