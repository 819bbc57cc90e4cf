"""Judged completions to answer sets, pooled or not, and answer sets to the columns that metrics read (layer L4).

Only what judged.jsonl holds is used, so the same code measures what was just judged and what is read back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np

from polymode.metrics import alignment, diversity
from polymode.metrics.table import Floats, JudgedTable, slots_of
from polymode.runs import JudgedCompletion, JudgedSet

Confidences = tuple[float | None, ...]


class SetRow(NamedTuple):
    """One answer set on its way into a `JudgedTable`."""

    question: int
    k: int
    judged: JudgedSet
    confidences: Confidences
    """Per answer; may differ from the stated ones (pooled sets)."""
    n_tokens: float


def completions_table(judged: Sequence[JudgedCompletion], questions: Mapping[str, int]) -> JudgedTable:
    """Columns of judged completions, in the order question, sample; ``questions`` numbers the ids."""
    nothing = math.nan
    rows = [
        SetRow(questions[one.id], one.k or 1, one, one.confidences, nothing if one.n_tokens is None else one.n_tokens)
        for one in judged
    ]
    return tabulate(rows, len(questions))


def pools_table(
    judged: Sequence[JudgedCompletion], questions: Mapping[str, int], pool: int, *, votes: bool
) -> JudgedTable:
    """Columns of the pooled sets, each of which the first of its ``pool`` completions holds.

    With ``votes``, the confidence of a single answer is its share of the pool.
    """
    rows = []
    for members in pools_of(judged, pool):
        first, own = members[0], members[0].pool
        if own is None:
            continue
        if own.ranked is not None:
            k, confidences = first.k or 1, tuple([q for _, q in own.ranked])
        else:
            stated = [q for one in members for q in one.confidences]
            k, confidences = pool, _pooled_confidences(stated, own.duplicates, pool if votes else None)
        rows.append(SetRow(questions[first.id], k, own, confidences, _tokens(members)))
    return tabulate(rows, len(questions))


def overlaps_of(judged: Iterable[JudgedCompletion], questions: Mapping[str, int]) -> np.ndarray:
    """Text overlaps of each question (P, 4), NaN where they were not computed."""
    overlaps_P = np.full((len(questions), len(diversity.OVERLAPS)), np.nan)
    for one in judged:
        if one.overlap is not None:
            overlaps_P[questions[one.id]] = np.array(one.overlap, dtype=float)
    return overlaps_P


def pools_of(judged: Iterable[JudgedCompletion], k: int) -> Iterator[list[JudgedCompletion]]:
    """Disjoint pools of ``k`` completions of one question, in sample order; a rest of fewer is left out."""
    of_question: dict[str, list[JudgedCompletion]] = {}
    for one in judged:
        of_question.setdefault(one.id, []).append(one)
    for group in of_question.values():
        for start in range(0, len(group) - k + 1, k):
            yield group[start : start + k]


def tabulate(rows: Sequence[SetRow], n_questions: int) -> JudgedTable:
    """Columns of the scored sets, in the order question, then as given."""
    scored = sorted((row for row in rows if row.judged.is_scored), key=lambda row: row.question)

    judged = [row.judged for row in scored]
    sizes = [len(one.verdicts) for one in judged]
    n_answers = sum(sizes)

    def column(name: str) -> list[Any]:
        """The answers' values of a field, None where a set has none."""
        values = list(map(attrgetter(name), judged))
        if values.count(None) == len(values):
            return [None] * n_answers
        return [*chain.from_iterable((None,) * n if own is None else own for own, n in zip(values, sizes, strict=True))]

    size_N = np.array(sizes, dtype=np.int64)
    question_N = np.array([row.question for row in scored], dtype=np.int64)
    owner_A = np.repeat(np.arange(len(scored)), size_N)
    class_A = np.array([number or 0 for number in column("classes")], dtype=np.int64)
    match_A = np.array([-1 if match is None else match for match in column("matches")], dtype=np.int64)
    is_open_A = np.repeat(np.array([row.judged.open for row in scored], dtype=bool), size_N)
    q_A = np.array([*chain.from_iterable(row.confidences for row in scored)], dtype=float)
    kl_N, variation_N = _divergences(question_N, owner_A, class_A, np.array(column("masses"), dtype=float), q_A)
    hits_A, p_A = (np.array(column(name), dtype=float) for name in ("hits", "p_correct"))
    labels_A = np.array(column("labels"), dtype=float)
    is_soft_A = ~np.isnan(labels_A)
    is_complete_N = [row.judged.complete for row in scored]
    has_counts = any(row.judged.distinct is not None for row in scored)
    return JudgedTable(
        n_questions=n_questions,
        question=question_N,
        k=np.array([row.k for row in scored], dtype=np.int16),  # small numbers take little room in large files
        n_references=np.array([row.judged.n_references or 0 for row in scored], dtype=np.int32),
        n_tokens=np.array([row.n_tokens for row in scored], dtype=float),
        best=np.array([row.judged.best for row in scored], dtype=float),
        kl=kl_N,
        total_variation=variation_N,
        owner=owner_A,
        slot=slots_of(size_N),
        q=q_A,
        y=hits_A,
        p=np.where(is_soft_A, labels_A, p_A),
        is_duplicate=np.array([duplicate is not None for duplicate in column("duplicates")], dtype=bool),
        # Where answers are without number, each class is a find.
        match=np.where(is_open_A & (match_A >= 0), class_A, match_A).astype(np.int32),
        answer_class=class_A.astype(np.int32),
        n_unscored=len(rows) - len(scored),
        by_ast=_distinct(scored, "ast") if has_counts else None,
        by_behaviour=_distinct(scored, "behaviour") if has_counts else None,
        is_complete=np.array(is_complete_N) if any(is_complete_N) else None,
        soft_labels=np.where(is_soft_A, labels_A, hits_A) if is_soft_A.any() else None,
    )


def _distinct(rows: Sequence[SetRow], by: Literal["ast", "behaviour"]) -> Floats:
    return np.array([(row.judged.distinct or {}).get(by) for row in rows], dtype=float)


def _divergences(
    question_N: np.ndarray, owner_A: np.ndarray, class_A: np.ndarray, mass_A: np.ndarray, q_A: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """KL and total variation of each set (N,) to its reference distribution, from its distinct answers.

    A question without any confidence has one value, at its first set: that of the shares of its answers over all sets.
    """
    n_sets = len(question_N)
    width = int(class_A.max(initial=0)) + 1
    _, first = np.unique(owner_A * width + class_A, return_index=True)
    kl_N, variation_N = alignment.set_divergences(owner_A[first], mass_A[first], q_A[first], n_sets)
    if n_sets == 0:
        return kl_N, variation_N
    n_questions = int(question_N.max()) + 1
    question_A = question_N[owner_A]
    is_silent_P = np.bincount(question_A, ~np.isnan(q_A), n_questions) == 0
    if is_silent_P.any():
        cells, first, counts = np.unique(question_A * width + class_A, return_index=True, return_counts=True)
        question_of_cell = cells // width
        shares = counts / np.bincount(question_A, minlength=n_questions)[question_of_cell]
        by_question = alignment.set_divergences(question_of_cell, mass_A[first], shares, n_questions)
        start = np.flatnonzero(np.diff(question_N, prepend=-1))
        start = start[is_silent_P[question_N[start]]]
        for column_N, values_P in zip((kl_N, variation_N), by_question, strict=True):
            column_N[start] = values_P[question_N[start]]
    return kl_N, variation_N


def _pooled_confidences(
    confidences: Sequence[float | None], duplicates: Sequence[int | None], voters: int | None
) -> Confidences:
    """Confidence of each answer of a pool.

    The first of several equal answers carries the confidence of all: the mean of what they stated, or with ``voters``
    their number / voters; its repeats carry 0.
    """
    of_kind: dict[int, list[float | None]] = {}
    for i, (confidence, duplicate) in enumerate(zip(confidences, duplicates, strict=True)):
        of_kind.setdefault(i if duplicate is None else duplicate, []).append(confidence)

    pool: list[float | None] = [0.0] * len(confidences)
    for i, own in of_kind.items():
        stated = [q for q in own if q is not None]
        pool[i] = len(own) / voters if voters is not None else sum(stated) / len(stated) if stated else None
    return (None,) * len(pool) if None in pool else tuple(pool)


def _tokens(judged: Iterable[JudgedCompletion]) -> float:
    counts = [one.n_tokens for one in judged]
    return math.nan if any(n is None for n in counts) else float(sum(n or 0 for n in counts))
