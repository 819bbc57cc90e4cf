"""Completions to judged completions, with what their question knows about each answer (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from polymode.errors import VerifierFault
from polymode.judging import judge
from polymode.metrics import alignment
from polymode.parsing import parse_answers
from polymode.rewards import METHODS, Reward, score_set
from polymode.types import AnswerSet, Completion, Example, Judgement, Score
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at
from polymode.verifiers.faults import ask


@dataclass(frozen=True, slots=True)
class JudgedCompletion:
    """A completion with its score; a line of ``judged.jsonl``."""

    completion: Completion
    score: Score
    p_correct: tuple[float, ...] | None
    """Per answer, the true probability that it is a new hit (0 for a repeat); None when unknown."""
    classes: tuple[int, ...] | None = None
    """Per answer, a number that equal answers of all samples of the question share; kept only where right answers are
    without number, so that a reference does not tell them apart."""

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
            **({} if self.classes is None else {"classes": list(self.classes)}),
            "n_references": judgement.n_references,
            "faults": list(judgement.faults),
            "p_correct": None if self.p_correct is None else list(self.p_correct),
            "score": self.score.total,
            "terms": dict(self.score.terms),
            "n_tokens": self.completion.n_tokens,
            "text_end": None,
        }


class Known(NamedTuple):
    """What a question knows about one answer."""

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
        self._key: Any = getattr(self._verifier, "key", None)
        self._classes: dict[object, int] = {}
        self._heads: list[str] = []
        self._known: dict[tuple[str, int | None], Known] = {}
        # Where answers are without number, the verifier may know the probability of any; the question lists only some.
        self._chance: Any = getattr(self._verifier, "p_correct", None)
        self._p_correct = self._keyed(example.p_correct) if self._chance is None else None
        # Exclusive probabilities of being right are a distribution over answers.
        self._distribution = self._keyed(example.distribution)
        if example.distribution is None and example.exclusive:
            self._distribution = self._p_correct
        values = None if example.p_correct is None else np.fromiter(example.p_correct.values(), float)
        self._best: dict[int, float] = {}
        self._values = values

    def look_up(self, text: str, match: int | None) -> Known:
        """Class and masses of an answer that matches reference ``match`` (None: no reference)."""
        known = self._known.get((text, match))
        if known is None:
            if self.is_open:
                match = None
            names = [text] if match is None else [text, *self._example.references[match].names]
            p_correct = self._mass(names, self._p_correct) if self._chance is None else self._chance_of(text)
            known = Known(self._class_of(text, match), p_correct, self._mass(names, self._distribution))
            self._known[text, match] = known
        return known

    def found(self, text: str, match: int | None) -> int:
        """Number, within the question, of what an answer finds: its reference, or its class; -1 for a wrong one."""
        if match is None:
            return -1
        return self.look_up(text, match).class_ if self.is_open else match

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
            return self._classes.setdefault(self._name(text), len(self._classes))
        head = next((head for head in self._heads if self._is_same(text, head)), None)
        if head is None:
            self._heads.append(head := text)
        return self._classes.setdefault(head, len(self._classes))

    def _is_same(self, a: str, b: str) -> bool:
        """What the verifier says; answers that it cannot compare stand for themselves, and the evaluation goes on."""
        try:
            return ask(self._verifier.same, a, b)
        except VerifierFault:
            return False

    def _mass(self, names: Sequence[str], masses: Mapping[Any, float] | None) -> float:
        if masses is None:
            return math.nan
        for name in names:
            if self._key is not None:
                mass = masses.get(self._name(name))
            else:
                mass = next((m for listed, m in masses.items() if self._is_same(name, listed)), None)
            if mass is not None:
                return mass
        return 0.0

    def _name(self, text: str) -> Hashable:
        """The text's key; a text that has none stands for itself, and the evaluation goes on."""
        try:
            return ask(self._key, text)
        except VerifierFault:
            return (text,)

    def _chance_of(self, text: str) -> float:
        try:
            return float(ask(self._chance, text))
        except VerifierFault:
            return math.nan

    def _keyed(self, masses: Mapping[str, float] | None) -> dict[Any, float] | None:
        if masses is None:
            return None
        total: dict[Any, float] = {}
        for name, mass in masses.items():
            key = name if self._key is None else self._name(name)
            total[key] = total.get(key, 0.0) + mass
        return total


class CompletionJudge:
    """Parses, judges and scores completions with one verifier, and keeps what belongs to a question."""

    def __init__(self, verifier: Verifier | QuestionVerifier, reward: Reward | None) -> None:
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

    def prepare(self, completions: Iterable[Completion]) -> None:
        """Let a slow verifier see all answers at once."""
        if isinstance(self.verifier, QuestionVerifier):
            with suppress(VerifierFault):  # asked one by one, it says of each answer what is wrong
                ask(self.verifier.prepare, ((c.example, [a.text for a in _answers(c).answers]) for c in completions))

    def judged(self, completion: Completion) -> JudgedCompletion:
        """Parse (salvaging what can be salvaged), judge and score one completion."""
        answers = _answers(completion)
        judgement = judge(completion.example, answers, self.verifier)
        reward = self._reward if self._reward is not None else self._defaults[completion.has_confidence]
        return JudgedCompletion(
            completion,
            score_set(judgement, reward),
            self.p_correct(completion.example, judgement),
            self._classes(completion.example, judgement),
        )

    def _classes(self, example: Example, judgement: Judgement) -> tuple[int, ...] | None:
        equality = self.equality(example)
        if not equality.is_open or not judgement.is_scored:
            return None
        pairs = zip(judgement.answer_set.answers, judgement.matches, strict=True)
        return tuple(equality.look_up(answer.text, match).class_ for answer, match in pairs)

    def p_correct(self, example: Example, judgement: Judgement) -> tuple[float, ...] | None:
        """Per answer, the probability that it is a new hit; None when the example does not tell."""
        if example.p_correct is None:
            return None
        equality = self.equality(example)
        return tuple(
            # An answer whose reference was found by an earlier one can be no new hit, whatever the truth.
            0.0
            if duplicate is not None or (match is not None and not hit)
            else equality.look_up(answer.text, match).p_correct
            for answer, match, duplicate, hit in zip(
                judgement.answer_set.answers, judgement.matches, judgement.duplicates, judgement.hits, strict=True
            )
        )


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
