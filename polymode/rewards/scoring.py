"""One completion read, judged and scored in one call, as fast as the three steps alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from polymode.errors import ConfigError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.references import check_references, references_from
from polymode.rewards.methods import METHODS, find_method
from polymode.rewards.reward import Reward
from polymode.rewards.terms import score_set
from polymode.types import Example, Reference, Score
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question
from polymode.verifiers.text import TextVerifier

_TEXT = TextVerifier()


def score(
    completion: str,
    references: Any,
    *,
    k: int,
    method: str = "multi-rlcr",
    verifier: Verifier | QuestionVerifier | None = None,
    preset: str = "paper",
    finished: bool = True,
) -> Score:
    """Parse, judge and score one completion.

    Args:
        completion: the model's whole text.
        references: the right answers: each a string, a list of aliases, an object or a `Reference`. A bare string is
            one reference.
        k: answers asked for; 1 for the single methods.
        method: one of `METHODS`.
        verifier: equality of answers; `TextVerifier` when None.
        preset: ``paper`` or ``released``.
        finished: False when generation was cut off.

    Raises:
        ConfigError: unknown method or preset, k out of range, or k > 1 with a single method.
        RecordError: references that are empty, unreadable, or only aliases of each other.

    >>> text = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
    >>> score(text, ["the flu", ["Covid", "COVID-19"]], k=2).terms
    {'coverage': 1.0, 'brier': -0.125, 'format': 1.0}
    """
    chosen = find_method(method)
    answers = parse_answers(completion, k, confidence=chosen.has_confidence, finished=finished)
    if not chosen.is_multi and k != 1:
        raise ConfigError(f"k = {k!r} with method = {method!r}: a single method asks for one answer; use k = 1")
    equality = verifier if verifier is not None else _TEXT
    return score_set(judge(_question(references, equality), answers, equality), _reward(method, preset))


@lru_cache
def _reward(method: str, preset: str) -> Reward:
    return METHODS[method].reward(preset)  # checking its weights takes longer than scoring a set


def _question(references: Any, verifier: Verifier | QuestionVerifier) -> Example:
    """The references as a question, read and checked, or as remembered from an earlier call.

    Only strings and lists of strings are remembered, by their texts: a caller may change a list between two calls, and
    equal keys mean equal references because whatever is no text is refused, and what raises is not remembered.
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
