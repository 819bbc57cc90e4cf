"""Diversity: distinct answers, and overlap between the texts of independent completions (layer L2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from polymode.metrics.table import Floats, JudgedTable
from polymode.uncertainty import ratio

N_UNIQUE = 30
"""Answers among which distinct ones are counted."""
MAX_PAIRS = 10
"""Pairs of completions compared per question: (0, 1), (0, 2), (1, 2), (0, 3), ... in sample order."""
MAX_OVERLAP_QUESTIONS = 1000
"""Questions compared, evenly spaced over the file when there are more."""
OVERLAPS = ("overlap_3gram", "overlap_4gram", "overlap_jaccard", "overlap_rouge_l")

_WORD = re.compile(r"[a-z0-9]+")


def uniqueness(table: JudgedTable) -> Floats:
    """Share of a set's answers that repeat no earlier answer of the set, shape (N,); NaN for a set without answers."""
    return ratio(table.per_set(1.0 - table.is_duplicate), table.n_answers)


def unique_answers(table: JudgedTable, n: int = N_UNIQUE) -> Floats:
    """Number of distinct answers among the first ``n`` asked for, per question, shape (Q,).

    Sets are taken in sample order, answers in slot order (K = 3: ten sets, K = 1: thirty). Slots of malformed sets
    count as asked for and give no answer. NaN where fewer than ``n`` answers were asked for.
    """
    if not table.n_sets:  # no verifier could say anything
        return np.full(table.n_questions, np.nan)
    slots_before = np.cumsum(table.k) - table.k
    total = np.bincount(table.question, weights=table.k, minlength=table.n_questions)
    first = np.searchsorted(table.question, np.arange(table.n_questions))
    base = np.append(slots_before, slots_before[-1:] + table.k[-1:])[first]
    position = (slots_before - base[table.question])[table.owner] + table.slot
    is_counted = position < n
    width = int(table.answer_class.max(initial=0)) + 1
    classes = np.unique(table.answer_question[is_counted] * width + table.answer_class[is_counted])
    count = np.bincount(classes // width, minlength=table.n_questions).astype(float)
    return np.where(total >= n, count, np.nan)


def words(text: str) -> list[str]:
    """Lower-case runs of ASCII letters and digits, as in the default tokenizer of rouge-score without stemming."""
    return _WORD.findall(text.lower())


def ngram_overlap(a: Sequence[str], b: Sequence[str], n: int) -> float:
    """F1 of shared n-grams, counted with repetition (ROUGE-n F1): 2 |A & B| / (|A| + |B|), in [0, 1].

    NaN when neither text has n words.
    """
    first, second = _ngrams(a, n), _ngrams(b, n)
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

    Args:
        texts: completions in sample order.
        max_pairs: compare at most this many pairs.

    Returns:
        NaN with fewer than two completions, and where no pair has a defined value.
    """
    split = [words(text) for text in texts[: max_pairs + 1]]
    pairs = sorted(combinations(range(len(split)), 2), key=lambda pair: pair[::-1])[:max_pairs]
    if not pairs:
        return np.full(4, np.nan)
    values = np.array(
        [
            (ngram_overlap(a, b, 3), ngram_overlap(a, b, 4), jaccard(a, b), rouge_l(a, b))
            for a, b in ((split[i], split[j]) for i, j in pairs)
        ]
    )
    return ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
