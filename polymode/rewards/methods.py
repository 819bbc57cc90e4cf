"""The four methods by name, and the score of one completion by one of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from polymode.distributions import with_target
from polymode.errors import ConfigError, one_of
from polymode.judging import judge
from polymode.messages import completion_text
from polymode.parsing import parse_answers
from polymode.references import check_references, plain, references_from
from polymode.rewards.reward import PRESETS, Reward, least_format
from polymode.rewards.terms import score_set
from polymode.types import Example, Reference, Score, Target
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question
from polymode.verifiers.text import TextVerifier


@dataclass(frozen=True, slots=True)
class Method:
    """One of the four ways to train."""

    name: str
    is_multi: bool
    """Whether one completion holds K answers; a single method asks for one."""
    has_confidence: bool
    """Whether answers carry confidences, and the reward a Brier term: the calibrated methods."""

    def answers(self, k: int) -> int:
        """Answers in one completion: K for a multi method, else 1."""
        return k if self.is_multi else 1

    def reward(self, preset: str = "paper", *, k: int = 1, **options: Any) -> Reward:
        """The reward of this method: the preset, or preset ``paper`` with some options of `Reward` changed.

        The format's weight rises with what a clean set of ``k`` answers can lose, so malformed text stays lowest.

        Raises:
            ConfigError: an unknown preset, options beside ``released``, or options of confidences without confidences.
        """
        one_of("preset", preset, PRESETS)
        if preset == "released":
            for name, value in options.items():
                raise ConfigError(f"{name} = {value!r} with preset = 'released': its formulas are fixed; use 'paper'")
            half = 0.5 if self.has_confidence else 0.0
            return Reward(coverage_weight=0.5, confidence_weight=half, format_weight=0.5, preset="released")
        if not self.has_confidence:
            for name in options.keys() & {"confidence_score", "confidence_weight", "confidences", "exclusive_penalty"}:
                raise ConfigError(
                    f"{name} = {options[name]!r} with method = {self.name!r}: its answers carry no confidences; use "
                    "single-rlcr or multi-rlcr"
                )
            options["confidence_weight"] = 0.0
        return Reward(**options, format_weight=max(1.0, least_format(k, **options)))


METHODS: dict[str, Method] = {
    "single-rlvr": Method("single-rlvr", is_multi=False, has_confidence=False),
    "single-rlcr": Method("single-rlcr", is_multi=False, has_confidence=True),
    "multi-rlvr": Method("multi-rlvr", is_multi=True, has_confidence=False),
    "multi-rlcr": Method("multi-rlcr", is_multi=True, has_confidence=True),
}
"""The four methods by name."""


def find_method(name: str) -> Method:
    """The method called ``name``; raises ConfigError for an unknown one."""
    one_of("method", name, tuple(METHODS))
    return METHODS[name]


_TEXT = TextVerifier()


def score(
    completion: Any,
    references: Any,
    *,
    k: int,
    method: str = "multi-rlcr",
    verifier: Verifier | QuestionVerifier | str | None = None,
    preset: str = "paper",
    finished: bool = True,
    target: Target = "verdict",
) -> Score:
    """Parse, judge and score one completion.

    Args:
        completion: the model's whole text, or a conversation whose last message is it (`polymode.messages`).
        references: the right answers: each a string, a list of aliases, an object or a `Reference`. A bare string is
            one reference; with an empty list no answer is right, and honest confidences are 0.
        k: answers asked for; 1 for the single methods.
        method: one of `METHODS`.
        verifier: equality of answers, or the name of one without options; `TextVerifier` when None.
        preset: ``paper`` or ``released``.
        finished: False when generation was cut off.
        target: ``distribution`` scores confidences against the weights of the references, which then must sum to 1
            (`polymode.soft_labels`).

    Raises:
        ConfigError: unknown method, preset, target or verifier, k out of range, or k > 1 with a single method.
        RecordError: references that are missing, unreadable, or only aliases of each other, or whose weights are no
            distribution; a completion that is no text.

    >>> text = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
    >>> score(text, ["the flu", ["Covid", "COVID-19"]], k=2).terms
    {'coverage': 1.0, 'brier': -0.125, 'format': 1.0}
    """
    chosen = find_method(method)
    text = completion if completion.__class__ is str else completion_text(completion)
    if k.__class__ is not int:
        k = plain(k)  # NumPy's whole numbers
    answers = parse_answers(text, k, confidence=chosen.has_confidence, finished=finished)
    if not chosen.is_multi and k != 1:
        raise ConfigError(f"k = {k!r} with method = {method!r}: a single method asks for one answer; use k = 1")
    equality = verifier if verifier is not None else _TEXT
    if isinstance(equality, str):
        equality = _named(equality)
    question = _question(references, equality)
    if target != "verdict":
        question = with_target(question, target)
    return score_set(judge(question, answers, equality), _reward(method, preset))


@lru_cache
def _named(verifier: str) -> Verifier | QuestionVerifier:
    from polymode.verifiers.choice import open_verifier

    return open_verifier(verifier)


@lru_cache
def _reward(method: str, preset: str) -> Reward:
    return METHODS[method].reward(preset)  # checking its weights takes longer than scoring a set


def _question(references: Any, verifier: Verifier | QuestionVerifier) -> Example:
    """The references as a question, read and checked, or as remembered from an earlier call.

    Only strings and lists of strings are remembered, by their texts: a caller may change a list between two calls.
    """
    if references.__class__ is list or references.__class__ is tuple:
        texts = tuple([tuple(item) if item.__class__ is list else item for item in references])
        if all([item.__class__ is str or item.__class__ is tuple for item in texts]):
            try:
                return _remembered(texts, verifier)
            except TypeError:  # no hash: an unusual verifier, or an item that is no text and is refused below
                pass
    return _read(references, verifier)


def _read(references: Any, verifier: Verifier | QuestionVerifier) -> Example:
    if references.__class__ is not tuple or not all([isinstance(item, Reference) for item in references]):
        references = references_from(references)
    if not depends_on_question(verifier):  # what such a verifier has as references need not be answers
        check_references(references, verifier)
    return Example("", "", references)


_remembered = lru_cache(maxsize=4096)(_read)
"""Lists of references are remembered with their checks, because a question has many completions."""
