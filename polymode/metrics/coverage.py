"""Coverage: how many of a question's references are found, by one set or by several completions (layer L2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from polymode.errors import RecordError
from polymode.metrics.table import Bools, Floats, Ints, JudgedTable, check_count, floats
from polymode.uncertainty import ratio


def pass_at_k(n_P: ArrayLike, c_P: ArrayLike, k: int) -> float:
    """Pass@k: the probability that at least one of k completions is right, 1 - C(n - c, k) / C(n, k), unbiased.

    Args:
        n_P: completions of each question, a number or shape (P,).
        c_P: those that are right, 0 <= c <= n, a number or shape (P,).
        k: completions drawn without replacement, k >= 1.

    Returns:
        The mean over the questions with n >= k, in [0, 1]; NaN when there is none.

    >>> pass_at_k(4, 1, 2)  # 3 of the 6 pairs hold the right one
    0.5
    >>> pass_at_k([4, 4], [1, 0], 2)
    0.25

    Source: Chen et al. 2021, https://arxiv.org/abs/2107.03374.
    """
    check_count("k", k)
    n_P, c_P = np.broadcast_arrays(np.atleast_1d(floats("n", n_P, 0)), floats("c", c_P, 0))
    if np.any(c_P > n_P):
        raise RecordError(f"c: {c_P[c_P > n_P][0]:g} right of n = {n_P[c_P > n_P][0]:g} completions; give c <= n")
    value_P = question_pass_at_k(n_P, c_P, k)
    is_defined_P = ~np.isnan(value_P)
    return float(ratio(value_P[is_defined_P].sum(), is_defined_P.sum()))


def question_pass_at_k(n_P: Ints, c_P: Ints, k: int) -> Floats:
    """`pass_at_k` of each question, shape (P,); NaN where n < k."""
    return 1.0 - _miss_probability(n_P, c_P, k)[k - 1]


def expected_coverage(question_N: Ints, count_N: Ints, n_P: Ints, m_max: int) -> Floats:
    """U(m), the expected number of distinct references found by m completions, for m = 1..m_max.

        U(m) = sum_g [1 - C(n - c_g, m) / C(n, m)]

    where c_g of the n completions of a question find reference g. Unbiased; with one reference U(m) is pass@m.

    Args:
        question_N: question of each reference that was found, shape (n,).
        count_N: its c_g >= 1, shape (n,).
        n_P: completions of each question, shape (P,).
        m_max: largest m.

    Returns:
        Shape (P, m_max); NaN where the question has fewer than m completions, 0 where nothing was found.
    """
    hit_probability_M_N = np.nan_to_num(1.0 - _miss_probability(n_P[question_N], count_N, m_max))
    u_P_M = np.zeros((len(n_P), m_max))
    np.add.at(u_P_M, question_N, hit_probability_M_N.T)
    return np.where(n_P[:, None] > np.arange(m_max), u_P_M, np.nan)


def _miss_probability(n_N: Ints, c_N: Ints, m_max: int) -> Floats:
    """C(n - c, m) / C(n, m) for m = 1..m_max, shape (m_max, n), factor by factor; NaN where n < m."""
    m_M1 = np.arange(m_max)[:, None]
    return np.cumprod(ratio(np.maximum(n_N - c_N - m_M1, 0), np.maximum(n_N - m_M1, 0)), axis=0)


def reference_counts(table: JudgedTable) -> tuple[Ints, Ints]:
    """For every reference that was found: its question, and c_g, the number of sets that found it."""
    is_hit_A = table.y == 1
    width = int(table.match.max(initial=0)) + 1
    cell_A = table.answer_question[is_hit_A] * width + table.match[is_hit_A]
    cell_N, count_N = np.unique(cell_A, return_counts=True)
    return cell_N // width, count_N


def coverage_at(q_N_K: ArrayLike | None, y_N_K: ArrayLike, n: int) -> float:
    """Coverage@n: the right answers among the n most confident ones of a set, mean over sets.

    Args:
        q_N_K: confidence of each answer, shape (sets, K); None to take the answers in their order. NaN comes last.
        y_N_K: 1 where an answer finds a reference that no earlier answer of its set found, else 0, shape (sets, K);
            NaN for a slot without an answer.
        n: answers of each set, n >= 1; beyond K all of them. Ties go to the earlier slot.

    Returns:
        A number in [0, min(n, K)]; NaN without sets.

    >>> q, y = [[0.9, 0.5, 0.1], [0.2, 0.3, 0.8]], [[1, 0, 1], [1, 0, 0]]
    >>> coverage_at(q, y, 1), coverage_at(q, y, 2), coverage_at(None, y, 1)
    (0.5, 0.5, 1.0)
    """
    check_count("n", n)
    y_N_K = floats("y", y_N_K, 0, 1)
    q_N_K = np.full(y_N_K.shape, np.nan) if q_N_K is None else floats("q", q_N_K, 0, 1)
    if y_N_K.ndim != 2 or q_N_K.shape != y_N_K.shape:
        raise RecordError(f"q and y: shapes {q_N_K.shape} and {y_N_K.shape}; give both as (sets, answers of a set)")
    order_N_K = np.argsort(-q_N_K, axis=1, kind="stable")  # NaN last
    hits = np.nansum(np.take_along_axis(y_N_K, order_N_K[:, :n], axis=1))
    return float(ratio(hits, len(y_N_K)))


def top_answer(
    table: JudgedTable, rank_A: Ints | None = None, labels_A: Floats | None = None
) -> tuple[Bools, Floats, Floats]:
    """Which sets have an answer, and confidence (else NaN) and label (else 0) of the most confident one, each (N,).

    ``labels_A`` are y unless given.
    """
    labels_A = table.y if labels_A is None else labels_A
    is_first_A = (table.rank() if rank_A is None else rank_A) == 0
    owner_N = table.owner[is_first_A]
    confidence_N, label_N = np.full(table.n_sets, np.nan), np.zeros(table.n_sets)
    confidence_N[owner_N], label_N[owner_N] = table.q[is_first_A], labels_A[is_first_A]
    return table.is_well_formed, confidence_N, label_N
