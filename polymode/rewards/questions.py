"""A question as its references tell it, read and checked once: the same reading for one completion and for a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from polymode.distributions import with_target
from polymode.errors import RecordError
from polymode.references import (
    ABSENT_TEXTS,
    NO_ANSWER,
    check_references,
    is_missing,
    list_in_text,
    plain,
    reference_from,
    references_from,
)
from polymode.types import Example, Reference, Target
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question

Equality = Verifier | QuestionVerifier
Key = str | tuple[str | tuple[str, ...], ...]
"""References as something that can be remembered: their texts where they are nothing else, or a text or JSON."""


def question_from(
    references: Any,
    verifier: Equality,
    *,
    question: str = "",
    target: str | None = None,
    distribution: Any = None,
) -> Example:
    """The question that references belong to; the same object for the same texts, so that its index is made once.

    Args:
        references: the right answers: a list or an array (each item a string, a list of aliases, an object or a
            `Reference`), or the text of a list as JSON or Python write it. ``[]`` says that nothing is right; a bare
            string is one reference, never iterated over its letters. An `Example` is the question itself.
        verifier: refuses references that it cannot tell apart, unless it reads the question.
        question: text for a verifier that reads it.
        target: ``verdict``, or ``distribution`` where the weights of the references, or ``distribution``, are the soft
            labels. None: the target of the `Example`, else ``verdict``.
        distribution: reference distribution, a mapping of answers to probabilities or its JSON.

    Raises:
        RecordError: references that are missing, unreadable or the same, or that have no distribution for their target.
        ConfigError: an unknown target.
    """
    if references.__class__ is Example:
        return references if target is None else with_target(references, cast(Target, target))
    if distribution is not None:
        distribution = "" if is_missing(distribution) else distribution
        if not isinstance(distribution, str):
            distribution = json.dumps(distribution, default=_as_object)
    options = (_key_of(references), verifier, question, target, distribution or "")
    try:
        return _remembered(*options)
    except TypeError:  # an unusual verifier without a hash
        return _read(*options)


def _key_of(references: Any) -> Key:
    # A caller may change a list between two calls, so it is remembered by its texts.
    if references.__class__ is list or references.__class__ is tuple:
        texts = tuple([tuple(item) if item.__class__ is list else item for item in references])
        for item in texts:
            if item.__class__ is not str and not (item.__class__ is tuple and _are_texts(item)):
                break
        else:
            return texts
    return _json_of(references)


def _are_texts(items: tuple[Any, ...]) -> bool:
    return all([item.__class__ is str for item in items])


def _json_of(references: Any) -> str:
    """References as JSON text, or as the bare text that they are."""
    references = plain(references)
    if is_missing(references):
        raise RecordError(f"references: {references!r} is missing; {NO_ANSWER}")
    if isinstance(references, str):
        return references
    if isinstance(references, (int, float)) and not isinstance(references, bool):
        return str(references)
    value = [references] if isinstance(references, Reference) else references
    try:
        if isinstance(value, (list, Mapping)):
            return json.dumps(value, default=_as_object)
    except (TypeError, ValueError):
        pass  # something in it is neither text nor number
    raise RecordError(f"references: {references!r:.80} is not a list; give a list with one item for each right answer")


def _as_object(value: Any) -> Any:
    if isinstance(value, Reference):
        return {"text": value.text, "aliases": value.aliases, "weight": value.weight}
    changed = plain(value)
    if changed is value:
        raise TypeError
    return changed


def _read(key: Key, verifier: Equality, question: str, target: str | None, distribution: str) -> Example:
    parsed = references_from(key) if isinstance(key, tuple) else _from_text(key)
    if not depends_on_question(verifier):  # what such a verifier has as references need not be answers
        check_references(parsed, verifier)
    example = Example("", question, parsed)
    if target is None or target == "verdict":
        return example
    masses = None
    if distribution:
        try:
            masses = json.loads(distribution)
        except ValueError:
            masses = None
        if not isinstance(masses, dict):
            raise RecordError(f"distribution = {distribution!r:.80} is not a mapping of answers to probabilities")
    return with_target(replace(example, distribution=masses), cast(Target, target))


_remembered = lru_cache(maxsize=4096)(_read)
"""Remembered with all checks, because a question has many completions."""


def _from_text(text: str) -> tuple[Reference, ...]:
    if text.strip() in ABSENT_TEXTS:
        raise RecordError(
            f'references: {text!r} stands for a missing value; {NO_ANSWER}, or ["{text.strip()}"] where it is one'
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = list_in_text(text)
    if isinstance(value, list):
        return tuple(map(reference_from, value))
    # A bare text, also one that happens to be a number in JSON.
    return references_from(value if isinstance(value, (str, Mapping)) else text)
