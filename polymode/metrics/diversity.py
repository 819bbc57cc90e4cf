"""Diversity: distinct answers, and overlap between the texts of independent completions (layer L2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from polymode.metrics.table import Bools, Floats, Ints, JudgedTable
from polymode.uncertainty import question_sums, ratio

N_UNIQUE = 30
"""Answers among which distinct ones are counted."""
MAX_PAIRS = 10
"""Pairs of completions compared per question: (0, 1), (0, 2), (1, 2), (0, 3), ... in sample order."""
MAX_OVERLAP_QUESTIONS = 1000
"""Questions compared, evenly spaced over the file when there are more."""
OVERLAPS = ("overlap_3gram", "overlap_4gram", "overlap_jaccard", "overlap_rouge_l")

_WORD = re.compile(r"[a-z0-9]+")


def uniqueness(answers_N_K: Iterable[Sequence[Hashable]]) -> float:
    """Share of a set's answers that differ from every earlier answer of the set, mean over sets.

    Args:
        answers_N_K: the answers of each set, as texts or as numbers of their classes; sets may differ in length.

    Returns:
        A number in (0, 1], 1 when no answer repeats another; NaN without answers. Empty sets are left out.

    >>> uniqueness([["flu", "cold"], ["flu", "flu"]])
    0.75
    """
    share_N = [len(set(answers_K)) / len(answers_K) for answers_K in answers_N_K if len(answers_K)]
    return float(ratio(sum(share_N), len(share_N)))


def unique_answers(table: JudgedTable, n: int = N_UNIQUE) -> Floats:
    """Number of distinct answers among the first ``n`` asked for, per question, shape (P,).

    In sample and slot order (K = 3: ten sets, K = 1: thirty). Slots of malformed sets count as asked for and give no
    answer. NaN where fewer than ``n`` answers were asked for.
    """
    question_N, _ = _counts(table, table.answer_class, n)
    return np.where(_has_answers(table, n), question_sums(question_N, None, table.n_questions), np.nan)


def modal_share(table: JudgedTable, n: int = N_UNIQUE) -> Floats:
    """Share of the most frequent answer among those of the first ``n`` asked for, per question, shape (P,).

    max_c n_c / sum_c n_c over equivalence classes c, in (0, 1]. Answers are taken as in `unique_answers`; a set of K
    distinct answers keeps it at 1 / K or below. NaN where fewer than ``n`` were asked for or none was given.
    """
    question_N, count_N = _counts(table, table.answer_class, n)
    most_P = np.zeros(table.n_questions)
    np.maximum.at(most_P, question_N, count_N)
    share_P = ratio(most_P, question_sums(question_N, count_N, table.n_questions))
    return np.where(_has_answers(table, n), share_P, np.nan)


def kl_uniform(table: JudgedTable, n: int = N_UNIQUE) -> Floats:
    """KL of the right answers among the first ``n`` to the uniform distribution over references, per question (P,).

        KL(s || u) = sum_r s_r log(s_r N) = log N - H(s),     s_r = n_r / sum n_r over the N references r

    in nats, from 0 (all references equally often) to log N (one reference only); n answers cannot reach less than
    log(N / n). Wrong answers are left out: precision counts them. NaN where references are not known to be complete,
    where fewer than ``n`` answers were asked for, and where none is right.
    """
    question_N, count_N = _counts(table, table.match, n, table.match >= 0)
    right_P = question_sums(question_N, count_N, table.n_questions)
    share_N = count_N / right_P[question_N]
    log_n_P, is_complete_P = np.zeros(table.n_questions), np.zeros(table.n_questions, dtype=bool)
    log_n_P[table.question] = np.log(np.maximum(table.n_references, 1))
    is_complete_P[table.question] = False if table.is_complete is None else table.is_complete
    kl_P = log_n_P + question_sums(question_N, share_N * np.log(share_N), table.n_questions)
    is_defined_P = is_complete_P & (right_P > 0) & _has_answers(table, n)
    return np.where(is_defined_P, np.maximum(kl_P, 0.0), np.nan)  # rounding must not make it negative


def _has_answers(table: JudgedTable, n: int) -> Bools:
    """_P: at least ``n`` answers were asked for."""
    return question_sums(table.question, table.k, table.n_questions) >= n


def _counts(table: JudgedTable, label_A: Ints, n: int, is_counted_A: Bools | bool = True) -> tuple[Ints, Ints]:
    """How often each label stands among the first ``n`` answers asked for of a question: the question, and the count.

    In sample and slot order; slots of malformed sets count as asked for.
    """
    total_P = question_sums(table.question, table.k, table.n_questions)
    # Place among the answers asked for of the question: those of all earlier sets, less those of earlier questions.
    before_N = np.cumsum(table.k) - table.k - (np.cumsum(total_P) - total_P)[table.question]
    is_counted_A = is_counted_A & (before_N[table.owner] + table.slot < n)
    width = int(label_A.max(initial=0)) + 1
    cell_N, count_N = np.unique(table.answer_question[is_counted_A] * width + label_A[is_counted_A], return_counts=True)
    return cell_N // width, count_N


def words(text: str) -> list[str]:
    """Lower-case runs of ASCII letters and digits, as in the default tokenizer of rouge-score without stemming."""
    return _WORD.findall(text.lower())


def ngram_overlap(a: Sequence[str], b: Sequence[str], n: int) -> float:
    """F1 of shared n-grams with repetition (ROUGE-n): 2 |A & B| / (|A| + |B|); NaN when neither text has n words."""
    first, second = (Counter(zip(*(text[i:] for i in range(n)), strict=False)) for text in (a, b))
    return float(ratio(2 * (first & second).total(), first.total() + second.total()))


def jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    """Shared share of the distinct words of both: |A & B| / |A | B|, in [0, 1]; NaN when both are empty."""
    first, second = set(a), set(b)
    return float(ratio(len(first & second), len(first | second)))


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the longest common subsequence: 2 LCS / (|a| + |b|), in [0, 1]; NaN when both are empty.

    Source: Lin 2004, https://aclanthology.org/W04-1013.
    """
    from rapidfuzz.distance import LCSseq

    return float(ratio(2 * LCSseq.similarity(a, b), len(a) + len(b)))


def text_overlaps(texts: Sequence[str], max_pairs: int = MAX_PAIRS) -> Floats:
    """Mean overlap between pairs of completions of one question, in the order of `OVERLAPS`, shape (4,).

    At most ``max_pairs`` pairs are compared. NaN with fewer than two completions, and where no pair has a value.
    """
    split = [words(text) for text in texts[: max_pairs + 1]]
    pairs = [(a, b) for j, b in enumerate(split) for a in split[:j]][:max_pairs]
    values = [(ngram_overlap(a, b, 3), ngram_overlap(a, b, 4), jaccard(a, b), rouge_l(a, b)) for a, b in pairs]
    value_N_4 = np.array(values, dtype=float).reshape(-1, len(OVERLAPS))
    return ratio(np.nansum(value_N_4, axis=0), (~np.isnan(value_N_4)).sum(axis=0))
