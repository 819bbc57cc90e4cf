"""Completions to judged completions, and judged answer sets to the columns that metrics read (layer L4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymode.judging import judge
from polymode.metrics import alignment
from polymode.metrics.table import JudgedTable
from polymode.parsing import parse_answers
from polymode.rewards import METHODS, Reward, score_set
from polymode.types import Answer, AnswerSet, Completion, Example, Judgement, ParseStatus, Score
from polymode.verifiers import Verifier


@dataclass(frozen=True, slots=True)
class JudgedCompletion:
    """A completion with its score; a line of ``judged.jsonl``."""

    completion: Completion
    score: Score
    p_correct: tuple[float, ...] | None
    """Per answer, the true probability that it is a new hit (0 for a repeat); None when unknown."""

    @property
    def judgement(self) -> Judgement:
        """What the score was computed from."""
        return self.score.judgement

    def to_row(self) -> dict[str, Any]:
        """Plain JSON types."""
        judgement, answers = self.judgement, self.score.answer_set
        return {
            "id": self.completion.example.id,
            "sample": self.completion.sample,
            "k": self.completion.k,
            "status": answers.status.value,
            "reason": answers.reason,
            "answers": [answer.text for answer in answers.answers],
            "confidences": [answer.confidence for answer in answers.answers],
            "verdicts": [verdict.value for verdict in judgement.verdicts],
            "hits": list(judgement.hits),
            "matches": list(judgement.matches),
            "duplicates": list(judgement.duplicates),
            "n_references": judgement.n_references,
            "p_correct": None if self.p_correct is None else list(self.p_correct),
            "score": self.score.total,
            "terms": dict(self.score.terms),
            "n_tokens": self.completion.n_tokens,
            "text_end": None,
        }


class Equality:
    """The verifier's equality on one question, as look-ups: classes of answers and masses of distributions."""

    def __init__(self, example: Example, verifier: Verifier) -> None:
        self._example, self._verifier = example, verifier
        self._key = getattr(verifier, "key", None)
        self._classes: dict[object, int] = {}
        self._heads: list[str] = []
        self._masses: dict[str, dict[str, float]] = {}

    def class_of(self, text: str, match: int | None) -> int:
        """Number of the answer's equivalence class; answers that match the same reference are one class."""
        if match is not None:
            return self._classes.setdefault(match, len(self._classes))
        if self._key is not None:
            return self._classes.setdefault(self._key(text), len(self._classes))
        head = next((head for head in self._heads if self._verifier.same(text, head)), None)
        if head is None:
            self._heads.append(head := text)
        return self._classes.setdefault(head, len(self._classes))

    def mass_of(self, text: str, match: int | None, field: str) -> float:
        """Mass of an answer in the example's ``distribution`` or ``p_correct``; 0 when it is not listed."""
        masses = self._keyed(field)
        names = [text] if match is None else [text, *self._example.references[match].names]
        for name in names:
            if self._key is not None:
                mass = masses.get(self._key(name))
            else:
                mass = next((m for listed, m in masses.items() if self._verifier.same(name, listed)), None)
            if mass is not None:
                return mass
        return 0.0

    def _keyed(self, field: str) -> dict[str, float]:
        if field not in self._masses:
            total: dict[str, float] = {}
            for name, mass in (getattr(self._example, field) or {}).items():
                key = name if self._key is None else self._key(name)
                total[key] = total.get(key, 0.0) + mass
            self._masses[field] = total
        return self._masses[field]


class CompletionJudge:
    """Parses, judges and scores completions with one verifier, and keeps what belongs to a question."""

    def __init__(self, verifier: Verifier, reward: Reward | None) -> None:
        self.verifier = verifier
        self._reward = reward
        self._defaults = {
            True: METHODS["multi-rlcr"].reward("paper"),
            False: METHODS["multi-rlvr"].reward("paper"),
        }
        self._equalities: dict[str, Equality] = {}

    def equality(self, example: Example) -> Equality:
        """The question's classes and masses."""
        if example.id not in self._equalities:
            self._equalities[example.id] = Equality(example, self.verifier)
        return self._equalities[example.id]

    def judged(self, completion: Completion) -> JudgedCompletion:
        """Parse (salvaging what can be salvaged), judge and score one completion."""
        answers = parse_answers(
            completion.text,
            completion.k,
            confidence=completion.has_confidence,
            finished=completion.is_finished,
            salvage=True,
        )
        judgement = judge(completion.example, answers, self.verifier)
        reward = self._reward if self._reward is not None else self._defaults[completion.has_confidence]
        return JudgedCompletion(completion, score_set(judgement, reward), self.p_correct(completion.example, judgement))

    def p_correct(self, example: Example, judgement: Judgement) -> tuple[float, ...] | None:
        """Per answer, the probability that it is a new hit; None when the example does not tell."""
        if example.p_correct is None:
            return None
        equality = self.equality(example)
        return tuple(
            # An answer whose reference was found by an earlier one can be no new hit, whatever the truth.
            0.0
            if duplicate is not None or (match is not None and not hit)
            else equality.mass_of(answer.text, match, "p_correct")
            for answer, match, duplicate, hit in zip(
                judgement.answer_set.answers, judgement.matches, judgement.duplicates, judgement.hits, strict=True
            )
        )


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
    owner, slot, q, y, p, duplicate, match, class_ = ([] for _ in range(8))
    kl, variation = np.full(len(scored), np.nan), np.full(len(scored), np.nan)
    best = np.full(len(scored), np.nan)
    for i, row in enumerate(scored):
        judgement, equality = row.judgement, judge_.equality(row.example)
        items = judgement.answer_set.answers
        owner += [i] * len(items)
        slot += range(len(items))
        q += [np.nan if c is None else c for c in row.confidences]
        y += judgement.hits
        p += [np.nan] * len(items) if row.p_correct is None else row.p_correct
        duplicate += [d is not None for d in judgement.duplicates]
        match += [-1 if m is None else m for m in judgement.matches]
        class_ += [equality.class_of(a.text, m) for a, m in zip(items, judgement.matches, strict=True)]
        k = judgement.answer_set.k
        p_correct = row.example.p_correct
        best[i] = (
            min(judgement.n_references, k)
            if p_correct is None
            else alignment.best_coverage(np.fromiter(p_correct.values(), float), k)
        )
        kl[i], variation[i] = _against_distribution(row, equality)
    _sampling_distributions(scored, judge_, kl, variation)
    return JudgedTable(
        n_questions=n_questions,
        question=np.array([row.question for row in scored], dtype=np.int64),
        k=np.array([row.judgement.answer_set.k for row in scored], dtype=np.int64),
        n_references=np.array([row.judgement.n_references for row in scored], dtype=np.int64),
        n_tokens=np.array([row.n_tokens for row in scored], dtype=float),
        best=best,
        kl=kl,
        total_variation=variation,
        owner=np.array(owner, dtype=np.int64),
        slot=np.array(slot, dtype=np.int64),
        q=np.array(q, dtype=float),
        y=np.array(y, dtype=float),
        p=np.array(p, dtype=float),
        is_duplicate=np.array(duplicate, dtype=bool),
        match=np.array(match, dtype=np.int64),
        answer_class=np.array(class_, dtype=np.int64),
        n_unscored=len(rows) - len(scored),
    )


def _reference_field(example: Example) -> str | None:
    """Where the example keeps a distribution over answers: exclusive probabilities of being right are one too."""
    if example.distribution is not None:
        return "distribution"
    return "p_correct" if example.exclusive and example.p_correct is not None else None


def _against_distribution(row: SetRow, equality: Equality) -> tuple[float, float]:
    """KL and total variation between the reference distribution and the confidences of the set's distinct answers."""
    field = _reference_field(row.example)
    if field is None or not row.confidences or any(c is None for c in row.confidences):
        return np.nan, np.nan
    seen: dict[int, tuple[float, float]] = {}
    for answer, match, confidence in zip(
        row.judgement.answer_set.answers, row.judgement.matches, row.confidences, strict=True
    ):
        mass = equality.mass_of(answer.text, match, field)
        seen.setdefault(equality.class_of(answer.text, match), (mass, float(confidence or 0.0)))
    p, q = (alignment.with_other(np.array(masses)) for masses in zip(*seen.values(), strict=True))
    return alignment.kl_divergence(p, q), alignment.total_variation(p, q)


def _sampling_distributions(rows: Sequence[SetRow], judge_: CompletionJudge, kl: Any, variation: Any) -> None:
    """For questions without any confidence: shares of the answers over all samples, noted at the first set."""
    of_question: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        of_question.setdefault(row.question, []).append(i)
    for members in of_question.values():
        example = rows[members[0]].example
        field = _reference_field(example)
        if field is None or any(c is not None for i in members for c in rows[i].confidences):
            continue
        equality = judge_.equality(example)
        counts: dict[int, int] = {}
        masses: dict[int, float] = {}
        for i in members:
            judgement = rows[i].judgement
            for answer, match in zip(judgement.answer_set.answers, judgement.matches, strict=True):
                class_ = equality.class_of(answer.text, match)
                counts[class_] = counts.get(class_, 0) + 1
                masses.setdefault(class_, equality.mass_of(answer.text, match, field))
        if not counts:
            continue
        total = sum(counts.values())
        p = alignment.with_other(np.array([masses[c] for c in counts]))
        q = alignment.with_other(np.array([n / total for n in counts.values()]))
        kl[members[0]], variation[members[0]] = alignment.kl_divergence(p, q), alignment.total_variation(p, q)


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
