"""What a question tells about each answer: its equivalence class, and its masses in distributions (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from polymode.distributions import distribution_of
from polymode.errors import VerifierFault
from polymode.metrics import alignment
from polymode.types import Example, Judgement, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at
from polymode.verifiers.faults import ask


class AnswerFacts(NamedTuple):
    """What the question tells about one answer."""

    class_: int
    """Number of its equivalence class; answers that match the same reference are one class."""
    p_correct: float | None
    """Probability that it is correct, 0 when it is not listed; None when the question does not tell."""
    mass: float | None
    """Mass in the reference distribution, 0 when it is not listed; None when there is none."""


class Equality:
    """The verifier's equality on one question: classes of answers, and their masses in its distributions."""

    def __init__(self, example: Example, verifier: Verifier | QuestionVerifier) -> None:
        self.example, self.verifier = example, verifier_at(verifier, example)
        self.is_open = is_open(self.verifier)
        """Whether right answers are without number; then each class of right answers counts as a reference."""
        self._key = getattr(self.verifier, "key", None)
        reason = getattr(self.verifier, "reason", None)
        self._reason = reason if callable(reason) else None
        self._classes: dict[object, int] = {}
        self._heads: list[str] = []
        self._facts: dict[tuple[str, int | None], AnswerFacts] = {}
        self._class_of_text: dict[str, int] = {}
        # Where answers are without number, the verifier may know the probability of any; the question lists only some.
        self._chance = getattr(self.verifier, "p_correct", None)
        # Of independent probabilities those of equal answers are one probability, said twice; exclusive ones add up.
        join = _added if example.exclusive else max
        self._p_correct = self._keyed(example.p_correct, join) if self._chance is None else None
        # Exclusive probabilities of being right are a distribution over answers.
        distribution = distribution_of(example)
        self._distribution = self._keyed(distribution, _added)
        if distribution is None and example.exclusive:
            self._distribution = self._p_correct
        self.has_masses = self._distribution is not None
        """Whether the question has a reference distribution."""
        self._best: dict[int, float] = {}
        self.is_complete = example.meta.get("complete_references") is True
        """Whether the references are all right answers."""

    def classes(self, texts: Sequence[str], matches: Sequence[int | None]) -> tuple[int, ...]:
        """The class of each answer, as `look_up` gives it; all that is needed of most questions."""
        of_text, of_match = self._class_of_text, self._classes.setdefault
        classes = []
        for text, match in zip(texts, (None,) * len(texts) if self.is_open else matches, strict=True):
            if match is not None:
                number = of_match(match, len(self._classes))
            elif (number := of_text.get(text)) is None:
                number = of_text[text] = self._class_of(text, None)
            classes.append(number)
        return tuple(classes)

    def look_up(self, text: str, match: int | None) -> AnswerFacts:
        """Class and masses of an answer that matches reference ``match`` (None: no reference)."""
        facts = self._facts.get((text, match))
        if facts is None:
            if self.is_open:
                match = None
            chance = self._chance_of(text) if self._chance else self._mass(text, match, self._p_correct)
            facts = AnswerFacts(self._class_of(text, match), chance, self._mass(text, match, self._distribution))
            self._facts[text, match] = facts
        return facts

    def reasons(self, judgement: Judgement) -> tuple[str | None, ...] | None:
        """Why each answer is wrong; None where no answer is, or the verifier has no method that says so."""
        if self._reason is None:
            return None
        texts = [answer.text for answer in judgement.answer_set.answers]
        is_wrong = [verdict is Verdict.WRONG for verdict in judgement.verdicts]
        reasons = tuple(self._reason_of(text) if wrong else None for text, wrong in zip(texts, is_wrong, strict=True))
        return reasons if any(reasons) else None

    def _reason_of(self, text: str) -> str | None:
        reason = ask_or(None, self._reason, text)
        return reason or None if isinstance(reason, str) else None

    def best_coverage(self, k: int) -> float:
        """Expected coverage of the best k answers; min(N, k) when only the references are known."""
        if self.example.p_correct is None:
            return float(k if self.is_open else min(len(self.example.references), k))
        if k not in self._best:
            chances = self.example.p_correct if self._p_correct is None else self._p_correct
            self._best[k] = alignment.best_coverage(np.fromiter(chances.values(), float), k)
        return self._best[k]

    def _class_of(self, text: str, match: int | None) -> int:
        name: object = match
        if match is None and self._key is not None:
            name = self._key_of(text)
        elif match is None:
            name = next((head for head in self._heads if self._is_same(text, head)), None)
            if name is None:
                self._heads.append(name := text)
        return self._classes.setdefault(name, len(self._classes))

    # A verifier of somebody else may raise anything, also about texts that it did not fail on while judging. Answers
    # that it cannot compare stand for themselves, a probability that it cannot tell is unknown: the evaluation goes on.

    def _is_same(self, a: str, b: str) -> bool:
        return ask_or(False, self.verifier.same, a, b)

    def _key_of(self, text: str) -> object:
        if self._key is None:
            return text
        try:
            key = self._key(text)
        except (Exception, SystemExit):  # as `ask` does, at half of its time
            key = None
        return key if isinstance(key, str) else (text,)

    def _chance_of(self, text: str) -> float | None:
        chance = ask_or(None, self._chance, text)
        is_number = isinstance(chance, Real) and not isinstance(chance, bool)
        return float(chance) if is_number and 0 <= float(chance) <= 1 else None  # also where it is NaN: unknown

    def _mass(self, text: str, match: int | None, masses: Mapping[object, float] | None) -> float | None:
        if masses is None:
            return None
        for name in (text, *(() if match is None else self.example.references[match].names)):
            if self._key is not None:
                mass = masses.get(self._key_of(name))
            else:
                mass = next((m for listed, m in masses.items() if self._is_same(name, str(listed))), None)
            if mass is not None:
                return mass
        return 0.0

    def _keyed(
        self, masses: Mapping[str, float] | None, join: Callable[[float, float], float]
    ) -> dict[object, float] | None:
        """Masses by key; ``join`` makes one of those of equal answers."""
        if masses is None:
            return None
        joined: dict[object, float] = {}
        for name, mass in masses.items():
            key = self._key_of(name)
            joined[key] = join(joined.get(key, 0.0), mass)
        return joined


def _added(a: float, b: float) -> float:
    return min(a + b, 1.0)  # rounding must not make a probability that no reader accepts


def ask_or(default: Any, method: Any, *arguments: object) -> Any:
    """What a verifier's method answers, or ``default`` where it fails."""
    try:
        return ask(method, *arguments)
    except VerifierFault:
        return default
