"""Coverage: how many of a question's references are found, by one set or by several completions (layer L2)."""

from __future__ import annotations

import numpy as np

from polymode.metrics.table import Bools, Floats, Ints, JudgedTable
from polymode.uncertainty import ratio


def pass_at_k(n: Ints, c: Ints, k: int) -> Floats:
    """Unbiased probability that at least one of k completions is right: 1 - C(n - c, k) / C(n, k).

    Args:
        n: completions of each question, shape (Q,).
        c: those that are right, shape (Q,), 0 <= c <= n.
        k: completions drawn without replacement, k >= 1.

    Returns:
        Shape (Q,); NaN where n < k.

    Source: Chen et al. 2021, https://arxiv.org/abs/2107.03374.
    """
    return 1.0 - _miss_probability(np.asarray(n), np.asarray(c), k)[k - 1]


def expected_coverage(question: Ints, counts: Ints, n_Q: Ints, m_max: int) -> Floats:
    """U(m), the expected number of distinct references found by m completions, for m = 1..m_max.

        U(m) = sum_g [1 - C(n - c_g, m) / C(n, m)]

    where c_g of the n completions of a question find reference g. Unbiased; U(1) is the mean coverage of one
    completion, and with one reference U(m) is pass@m.

    Args:
        question: question of each found reference, shape (R,).
        counts: c_g >= 1 of each found reference, shape (R,).
        n_Q: completions of each question, shape (Q,).
        m_max: largest m.

    Returns:
        Shape (Q, m_max); NaN where the question has fewer than m completions, 0 where nothing was found.
    """
    found = 1.0 - _miss_probability(n_Q[question], counts, m_max)
    out = np.empty((len(n_Q), m_max))
    for m in range(1, m_max + 1):
        total = np.bincount(question, weights=np.nan_to_num(found[m - 1]), minlength=len(n_Q))
        out[:, m - 1] = np.where(n_Q >= m, total, np.nan)
    return out


def _miss_probability(n: Ints, c: Ints, m_max: int) -> Floats:
    """C(n - c, m) / C(n, m) for m = 1..m_max, shape (m_max, len(n)), built up factor by factor; NaN where n < m."""
    out = np.empty((m_max, len(n)))
    miss = np.ones(len(n))
    for m in range(1, m_max + 1):
        miss = miss * np.maximum(ratio(n - c - m + 1.0, np.maximum(n - m + 1.0, 0.0)), 0.0)
        out[m - 1] = miss
    return out


def reference_counts(table: JudgedTable) -> tuple[Ints, Ints]:
    """For every reference that was found: its question, and c_g, the number of sets that found it."""
    hit = table.y == 1
    width = int(table.match.max(initial=0)) + 1
    found, counts = np.unique(table.answer_question[hit] * width + table.match[hit], return_counts=True)
    return found // width, counts


def coverage_at(table: JudgedTable, n: int, rank: Ints | None = None) -> Floats:
    """Coverage@n per set (N,): hits among the n most confident answers (without confidences: the first n)."""
    rank = table.rank() if rank is None else rank
    return table.per_set(np.where(rank < n, table.y, 0.0))


def top_answer(table: JudgedTable, rank: Ints | None = None) -> tuple[Bools, Floats, Floats]:
    """The most confident answer of each set (without confidences: the first).

    Returns:
        Mask of the sets that have an answer (N,), its confidence (N,), and its label y (N,). A set without answers
        has confidence NaN and y = 0.
    """
    rank = table.rank() if rank is None else rank
    first = rank == 0
    owner = table.owner[first]
    confidence, label = np.full(table.n_sets, np.nan), np.zeros(table.n_sets)
    confidence[owner], label[owner] = table.q[first], table.y[first]
    return table.is_well_formed, confidence, label
