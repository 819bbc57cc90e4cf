"""Completions to judged completions, with what their question tells about each answer (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from polymode.errors import VerifierFault
from polymode.judging import judge
from polymode.metrics import alignment
from polymode.parsing import parse_answers
from polymode.rewards import METHODS, Reward, score_set
from polymode.runs import SCHEMA, JudgedCompletion, JudgedSet
from polymode.types import Answer, AnswerSet, Completion, Example, Judgement, ParseStatus, Span
from polymode.verifiers import QuestionVerifier, Verifier, is_open, prepare_verifier, verifier_at
from polymode.verifiers.faults import ask


class AnswerFacts(NamedTuple):
    """What the question tells about one answer."""

    class_: int
    """Number of its equivalence class; answers that match the same reference are one class."""
    p_correct: float
    """Probability that it is correct, 0 when it is not listed; NaN when the question does not tell."""
    mass: float
    """Mass in the reference distribution, 0 when it is not listed; NaN when there is none."""


class Equality:
    """The verifier's equality on one question: classes of answers, and their masses in its distributions."""

    def __init__(self, example: Example, verifier: Verifier | QuestionVerifier) -> None:
        self._example, self._verifier = example, verifier_at(verifier, example)
        self.is_open = is_open(self._verifier)
        """Whether right answers are without number; then each class of right answers counts as a reference."""
        self._key = getattr(self._verifier, "key", None)
        self._classes: dict[object, int] = {}
        self._heads: list[str] = []
        self._facts: dict[tuple[str, int | None], AnswerFacts] = {}
        # Where answers are without number, the verifier may know the probability of any; the question lists only some.
        self._chance = getattr(self._verifier, "p_correct", None)
        self._p_correct = self._keyed(example.p_correct) if self._chance is None else None
        # Exclusive probabilities of being right are a distribution over answers.
        self._distribution = self._keyed(example.distribution)
        if example.distribution is None and example.exclusive:
            self._distribution = self._p_correct
        self.has_masses = self._distribution is not None
        """Whether the question has a reference distribution."""
        values = None if example.p_correct is None else np.fromiter(example.p_correct.values(), float)
        self._best: dict[int, float] = {}
        self._values = values

    def look_up(self, text: str, match: int | None) -> AnswerFacts:
        """Class and masses of an answer that matches reference ``match`` (None: no reference)."""
        facts = self._facts.get((text, match))
        if facts is None:
            if self.is_open:
                match = None
            names = [text] if match is None else [text, *self._example.references[match].names]
            p_correct = self._mass(names, self._p_correct) if self._chance is None else self._chance_of(text)
            facts = AnswerFacts(self._class_of(text, match), p_correct, self._mass(names, self._distribution))
            self._facts[text, match] = facts
        return facts

    def best_coverage(self, k: int) -> float:
        """Expected coverage of the best k answers; min(N, k) when only the references are known."""
        if self._values is None:
            return float(k if self.is_open else min(len(self._example.references), k))
        if k not in self._best:
            self._best[k] = alignment.best_coverage(self._values, k)
        return self._best[k]

    def _class_of(self, text: str, match: int | None) -> int:
        if match is not None:
            return self._classes.setdefault(match, len(self._classes))
        if self._key is not None:
            return self._classes.setdefault(self._key_of(text), len(self._classes))
        head = next((head for head in self._heads if self._is_same(text, head)), None)
        if head is None:
            self._heads.append(head := text)
        return self._classes.setdefault(head, len(self._classes))

    # A verifier of somebody else may raise anything, also about texts that it did not fail on while judging. Answers
    # that it cannot compare stand for themselves, a probability that it cannot tell is unknown: the evaluation goes on.

    def _is_same(self, a: str, b: str) -> bool:
        try:
            return ask(self._verifier.same, a, b)
        except VerifierFault:
            return False

    def _key_of(self, text: str) -> object:
        try:
            return text if self._key is None else ask(self._key, text)
        except VerifierFault:
            return (text,)

    def _chance_of(self, text: str) -> float:
        assert self._chance is not None
        try:
            return float(ask(self._chance, text))
        except VerifierFault:
            return math.nan

    def _mass(self, names: Sequence[str], masses: Mapping[object, float] | None) -> float:
        if masses is None:
            return math.nan
        for name in names:
            if self._key is not None:
                mass = masses.get(self._key_of(name))
            else:
                mass = next((m for listed, m in masses.items() if self._is_same(name, str(listed))), None)
            if mass is not None:
                return mass
        return 0.0

    def _keyed(self, masses: Mapping[str, float] | None) -> dict[object, float] | None:
        if masses is None:
            return None
        total: dict[object, float] = {}
        for name, mass in masses.items():
            key = self._key_of(name)
            total[key] = total.get(key, 0.0) + mass
        return total


class CompletionJudge:
    """Parses, judges and scores completions with one verifier, and keeps what belongs to a question."""

    def __init__(self, verifier: Verifier | QuestionVerifier, reward: Reward | None) -> None:
        self.verifier = self.prepared = verifier
        """As it was given; ``prepared`` is what judges: after `prepare`, it has the results."""
        self._reward = reward
        self._defaults = {
            True: METHODS["multi-rlcr"].reward("paper"),
            False: METHODS["multi-rlvr"].reward("paper"),
        }
        self._equalities: dict[str, Equality] = {}

    def equality(self, example: Example) -> Equality:
        """The question's classes and masses."""
        if example.id not in self._equalities:
            self._equalities[example.id] = Equality(example, self.prepared)
        return self._equalities[example.id]

    def prepare(self, completions: Iterable[Completion]) -> None:
        """Let a slow verifier see all answers at once."""
        items = ((c.example, [a.text for a in _answers(c).answers]) for c in completions)
        self.prepared = prepare_verifier(self.verifier, items)
        self._count_distinct = getattr(self.prepared, "count_distinct", None)

    def judged(self, completion: Completion) -> JudgedCompletion:
        """Parse (salvaging what can be salvaged), judge and score one completion."""
        answers = _answers(completion)
        judgement = judge(completion.example, answers, self.prepared)
        reward = self._reward if self._reward is not None else self._defaults[completion.has_confidence]
        score = score_set(judgement, reward)
        return JudgedCompletion(
            id=completion.example.id,
            sample=completion.sample,
            k=completion.k,
            status=answers.status.value,
            reason=answers.reason,
            answers=tuple(answer.text for answer in answers.answers),
            confidences=tuple(answer.confidence for answer in answers.answers),
            score=score.total,
            terms=dict(score.terms),
            n_tokens=completion.n_tokens,
            schema=SCHEMA,
            **self._facts(completion.example, score.judgement),  # with the faults of terms
        )

    def pooled(self, example: Example, texts: Sequence[str], k: int) -> JudgedSet:
        """Single answers of ``k`` completions judged as one set."""
        answers = tuple(Answer(text, Span(0, 0)) for text in texts)
        status = ParseStatus.CLEAN if answers else ParseStatus.MALFORMED
        judgement = judge(example, AnswerSet(status, answers, k, has_confidence=False), self.prepared)
        return JudgedSet(**self._facts(example, judgement))

    def _facts(self, example: Example, judgement: Judgement) -> dict[str, Any]:
        """The fields of a `JudgedSet`."""
        equality = self.equality(example)
        facts: dict[str, Any] = {
            "verdicts": tuple(verdict.value for verdict in judgement.verdicts),
            "hits": judgement.hits,
            "matches": judgement.matches,
            "duplicates": judgement.duplicates,
            "n_references": judgement.n_references,
            "faults": judgement.faults,
            "open": equality.is_open,
        }
        if not judgement.is_scored:  # its verifier may fail again
            return facts
        items = judgement.answer_set.answers
        looked_up = [equality.look_up(a.text, m) for a, m in zip(items, judgement.matches, strict=True)]
        facts["classes"] = tuple(answer.class_ for answer in looked_up)
        if equality.has_masses:
            facts["masses"] = tuple(answer.mass for answer in looked_up)
        if example.p_correct is not None:
            # An answer whose reference was found by an earlier one can be no new hit, whatever the truth.
            facts["p_correct"] = tuple(
                0.0 if duplicate is not None or (match is not None and not hit) else _or_none(answer.p_correct)
                for answer, match, duplicate, hit in zip(
                    looked_up, judgement.matches, judgement.duplicates, judgement.hits, strict=True
                )
            )
        facts["best"] = equality.best_coverage(judgement.answer_set.k)
        count_distinct = getattr(self.prepared, "count_distinct", None)  # that of programs
        if count_distinct is not None:
            facts["distinct"] = _distinct(count_distinct, example, [answer.text for answer in items])
        return facts


def _distinct(count_distinct: Callable[..., Any], example: Example, texts: Sequence[str]) -> dict[str, int | None]:
    """Right programs of a set that differ in their syntax trees, and in what they do; None when unknown."""
    try:
        counts = ask(count_distinct, example, texts)
    except VerifierFault:  # also a set without answers, of a question whose tests cannot be used
        return {"ast": None, "behaviour": None}
    if counts.unscored:
        return {"ast": None, "behaviour": None}
    return {"ast": counts.by_ast, "behaviour": counts.by_behaviour}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _answers(completion: Completion) -> AnswerSet:
    answers = parse_answers(
        completion.text,
        completion.k,
        confidence=completion.has_confidence,
        finished=completion.is_finished,
        salvage=True,
    )
    outside = completion.confidences
    if outside is None or len(outside) != len(answers.answers):
        return answers
    slots = tuple(replace(answer, confidence=q) for answer, q in zip(answers.answers, outside, strict=True))
    return replace(answers, answers=slots, has_confidence=True)
