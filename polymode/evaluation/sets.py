"""Judged completions to answer sets, pooled or not, and answer sets to the columns that metrics read (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polymode.errors import VerifierFault
from polymode.evaluation.judged import CompletionJudge, JudgedCompletion
from polymode.judging import judge
from polymode.metrics import alignment
from polymode.metrics.table import JudgedTable
from polymode.types import Answer, AnswerSet, Completion, Example, Judgement, ParseStatus
from polymode.verifiers.faults import ask

if TYPE_CHECKING:
    from polymode.verifiers.programs import DistinctCounts


@dataclass(frozen=True, slots=True)
class SetRow:
    """One scored answer set on its way into a `JudgedTable`."""

    question: int
    example: Example
    judgement: Judgement
    confidences: tuple[float | None, ...]
    """Per answer; may differ from the stated ones (pooled sets)."""
    p_correct: tuple[float, ...] | None
    n_tokens: float


def single_rows(judged: Sequence[JudgedCompletion], questions: Mapping[str, int]) -> list[SetRow]:
    """One set per completion."""
    return [
        SetRow(
            question=questions[j.completion.example.id],
            example=j.completion.example,
            judgement=j.judgement,
            confidences=tuple(answer.confidence for answer in j.score.answer_set.answers),
            p_correct=j.p_correct,
            n_tokens=_tokens([j.completion]),
        )
        for j in judged
    ]


def pooled_rows(
    judged: Sequence[JudgedCompletion], questions: Mapping[str, int], judge_: CompletionJudge, k: int, *, votes: bool
) -> list[SetRow]:
    """Disjoint pools of ``k`` single-answer completions of one question, in sample order, each judged as one set.

    The first of several equal answers carries the confidence of all: the mean of what they stated, or with ``votes``
    their number / k; its repeats carry 0.
    """
    of_question: dict[str, list[JudgedCompletion]] = {}
    for j in judged:
        of_question.setdefault(j.completion.example.id, []).append(j)
    rows = []
    for id_, group in of_question.items():
        for start in range(0, len(group) - k + 1, k):
            pool = group[start : start + k]
            answers = tuple(answer for j in pool for answer in j.score.answer_set.answers)
            status = ParseStatus.CLEAN if answers else ParseStatus.MALFORMED
            has_confidence = pool[0].completion.has_confidence
            example = pool[0].completion.example
            judgement = judge(example, AnswerSet(status, answers, k, has_confidence), judge_.verifier)
            rows.append(
                SetRow(
                    question=questions[id_],
                    example=example,
                    judgement=judgement,
                    confidences=_pooled_confidences(answers, judgement.duplicates, k if votes else None),
                    p_correct=judge_.p_correct(example, judgement),
                    n_tokens=_tokens([j.completion for j in pool]),
                )
            )
    return rows


def tabulate(rows: Sequence[SetRow], n_questions: int, judge_: CompletionJudge) -> JudgedTable:
    """Columns of the scored sets, in the order question, then as given."""
    scored = sorted((row for row in rows if row.judgement.is_scored), key=lambda row: row.question)
    n_answers: list[int] = []
    best: list[float] = []
    q: list[float | None] = []
    y: list[int | None] = []
    p: list[float] = []
    duplicate: list[bool] = []
    match: list[int] = []
    class_: list[int] = []
    mass: list[float] = []
    count = getattr(judge_.verifier, "count_distinct", None)  # that of programs
    distinct = None if count is None else np.array([_distinct(count, row) for row in scored]).reshape(-1, 2)
    for row in scored:
        judgement, equality = row.judgement, judge_.equality(row.example)
        items = judgement.answer_set.answers
        n_answers.append(len(items))
        best.append(equality.best_coverage(judgement.answer_set.k))
        q += row.confidences
        y += judgement.hits
        p += [math.nan] * len(items) if row.p_correct is None else row.p_correct
        duplicate += [d is not None for d in judgement.duplicates]
        match += [equality.found(a.text, m) for a, m in zip(items, judgement.matches, strict=True)]
        known = [equality.look_up(a.text, m) for a, m in zip(items, judgement.matches, strict=True)]
        class_ += [answer.class_ for answer in known]
        mass += [answer.mass for answer in known]
    sizes = np.array(n_answers, dtype=np.int64)
    question = np.array([row.question for row in scored], dtype=np.int64)
    owner = np.repeat(np.arange(len(scored)), sizes)
    classes, confidences = np.array(class_, dtype=np.int64), np.array(q, dtype=float)
    kl, variation = _divergences(question, owner, classes, np.array(mass, dtype=float), confidences)
    return JudgedTable(
        n_questions=n_questions,
        question=question,
        k=np.array([row.judgement.answer_set.k for row in scored], dtype=np.int64),
        n_references=np.array([row.judgement.n_references for row in scored], dtype=np.int64),
        n_tokens=np.array([row.n_tokens for row in scored], dtype=float),
        best=np.array(best, dtype=float),
        kl=kl,
        total_variation=variation,
        owner=owner,
        slot=np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner],
        q=confidences,
        y=np.array(y, dtype=float),
        p=np.array(p, dtype=float),
        is_duplicate=np.array(duplicate, dtype=bool),
        match=np.array(match, dtype=np.int64),
        answer_class=classes,
        n_unscored=len(rows) - len(scored),
        by_ast=None if distinct is None else distinct[:, 0],
        by_behaviour=None if distinct is None else distinct[:, 1],
    )


def _distinct(count: Callable[[Example, Sequence[str]], DistinctCounts], row: SetRow) -> tuple[float, float]:
    """Right programs of a set that differ in their syntax trees, and in what they do; NaN when that is unknown."""
    try:
        found = ask(count, row.example, [answer.text for answer in row.judgement.answer_set.answers])
    except VerifierFault:  # also a set without answers, of a question whose tests cannot be used
        return math.nan, math.nan
    if found.unscored:
        return math.nan, math.nan
    return float(found.by_ast), math.nan if found.by_behaviour is None else float(found.by_behaviour)


def _divergences(
    question: np.ndarray, owner: np.ndarray, classes: np.ndarray, mass: np.ndarray, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """KL and total variation of each set (N,) to its reference distribution, from its distinct answers.

    A question without any confidence has one value, at its first set: that of the shares of its answers over all sets.
    """
    n_sets = len(question)
    width = int(classes.max(initial=0)) + 1
    _, first = np.unique(owner * width + classes, return_index=True)
    kl, variation = alignment.set_divergences(owner[first], mass[first], q[first], n_sets)
    if n_sets == 0:
        return kl, variation
    n_questions = int(question.max()) + 1
    asker = question[owner]
    silent = np.bincount(asker, ~np.isnan(q), n_questions) == 0
    if silent.any():
        cells, first, counts = np.unique(asker * width + classes, return_index=True, return_counts=True)
        where = cells // width
        shares = counts / np.bincount(asker, minlength=n_questions)[where]
        by_question = alignment.set_divergences(where, mass[first], shares, n_questions)
        start = np.flatnonzero(np.diff(question, prepend=-1))
        start = start[silent[question[start]]]
        for column, values in zip((kl, variation), by_question, strict=True):
            column[start] = values[question[start]]
    return kl, variation


def _pooled_confidences(
    answers: Sequence[Answer], duplicates: Sequence[int | None], voters: int | None
) -> tuple[float | None, ...]:
    given: dict[int, list[float | None]] = {}
    for i, (answer, duplicate) in enumerate(zip(answers, duplicates, strict=True)):
        given.setdefault(i if duplicate is None else duplicate, []).append(answer.confidence)

    def confidence(i: int) -> float | None:
        if i not in given:
            return 0.0
        if voters is not None:
            return len(given[i]) / voters
        stated = [c for c in given[i] if c is not None]
        return sum(stated) / len(stated) if stated else None

    pooled = [confidence(i) for i in range(len(answers))]
    return tuple(None for _ in pooled) if any(c is None for c in pooled) else tuple(pooled)


def _tokens(completions: Iterable[Completion]) -> float:
    counts = [completion.n_tokens for completion in completions]
    return float("nan") if any(n is None for n in counts) else float(sum(n or 0 for n in counts))
