"""Coverage metrics against enumeration of subsets and hand-worked sets."""

from itertools import combinations

import numpy as np
import pytest

from polymode.metrics import coverage


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (4, 0), (4, 1), (5, 2), (6, 6), (7, 3)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n: int, c: int) -> None:
    right = [i < c for i in range(n)]
    for k in range(1, n + 1):
        subsets = list(combinations(right, k))
        share = sum(any(s) for s in subsets) / len(subsets)
        assert coverage.pass_at_k(n, c, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_is_undefined_beyond_the_samples() -> None:
    assert np.isnan(coverage.question_pass_at_k(np.array([3, 4]), np.array([3, 1]), 4)).tolist() == [True, False]
    assert coverage.pass_at_k([3, 4], [3, 1], 4) == 1.0  # the question with three completions is left out
    assert np.isnan(coverage.pass_at_k([3], [3], 4))


def test_expected_coverage_is_the_mean_over_subsets_of_completions() -> None:
    # Question 0: 5 completions; question 1: 3 completions that find nothing.
    found = [{0, 2}, {0}, set(), {1, 2}, {0}]
    counts = np.array([3, 1, 2])  # references 0, 1, 2 of question 0
    u = coverage.expected_coverage(np.zeros(3, dtype=int), counts, np.array([5, 3]), 5)
    for m in range(1, 6):
        sizes = [len(set().union(*subset)) for subset in combinations(found, m)]
        assert u[0, m - 1] == pytest.approx(np.mean(sizes), abs=1e-12)
    assert u[1, :3].tolist() == [0, 0, 0]
    assert np.isnan(u[1, 3:]).all()


def test_table_counts_ranks_and_tops(small_table) -> None:
    # Sets of the fixture: see conftest. Set 0: q = .2, .9, .9 and y = 1, 0, 1 -> order: slots 1, 2, 0 (tie: earlier).
    rank = small_table.rank()
    assert rank.tolist() == [2, 0, 1, 0, 1, 0, 1]
    assert small_table.hits.tolist() == [2, 0, 1, 1]
    held, q, y = coverage.top_answer(small_table)
    assert held.tolist() == [True, False, True, True]
    assert q[held].tolist() == [0.9, 0.6, 0.8]
    assert y.tolist() == [0, 0, 1, 1]


def test_reference_counts_are_per_question(small_table) -> None:
    # Question 0: reference 0 found by set 0, reference 1 by set 0. Question 1: reference 0 by sets 2 and 3.
    question, counts = coverage.reference_counts(small_table)
    assert question.tolist() == [0, 0, 1]
    assert counts.tolist() == [1, 1, 2]
