"""Columns of a data set as a reward function gets them: one value for each completion, checked before any is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from polymode.distributions import with_target
from polymode.errors import ConfigError, RecordError
from polymode.prompts import MAX_K
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
from polymode.verifiers import QuestionVerifier, Verifier


def column(name: str, values: Any, n: int) -> list[Any]:
    """A column as a list of ``n`` values; raises RecordError for anything else."""
    rows = plain(values)
    if not isinstance(rows, list):
        raise RecordError(f"{name} = {values!r:.80} is not allowed; give a list with one entry for each completion")
    if len(rows) != n:
        raise RecordError(f"{name} has {len(rows)} entries for {n} completions; give one for each")
    return rows


def ks_of(values: Any, n: int) -> list[int]:
    """The column ``k``: whole numbers in 1..MAX_K; raises ConfigError with the row."""
    ks = column("k", values, n)
    for row, k in enumerate(ks):
        is_whole = isinstance(k, (int, float)) and not isinstance(k, bool) and k == k and int(k) == k
        if not is_whole or not 1 <= k <= MAX_K:
            raise ConfigError(
                f"k, row {row}: {k!r} is not allowed; give a whole number from 1 to {MAX_K} in every row, or leave the "
                "column out"
            )
    return [int(k) for k in ks]


def examples_of(
    references: Any,
    question: Any,
    n: int,
    equality: Verifier | QuestionVerifier,
    target: Any = None,
    distribution: Any = None,
) -> tuple[list[Example], list[str]]:
    """The question of each completion, and a text for each that tells questions apart.

    Args:
        references: the column: per row a list, an array, or the text of a list as JSON or Python write it. A row that
            is an empty list has no right answer. A bare text that is no list is one reference, never iterated over its
            letters.
        question: the column of questions, or None.
        n: completions.
        equality: refuses references that it cannot tell apart.
        target: the column of targets, or None: ``verdict``, or ``distribution`` where the weights of the row's
            references, or the row of ``distribution``, are the soft labels.
        distribution: the column of reference distributions, mappings or their JSON, or None.

    Raises:
        RecordError: a column of another length, or a row that is missing, unreadable or has no distribution for its
            target; says which.
    """
    if references is None:
        raise RecordError("references: the data set has no such column; add one with the right answers of each row")
    rows = column("references", references, n)
    questions = [""] * n if question is None else column("question", question, n)
    targets = [None] * n if target is None else column("target", target, n)
    masses = [None] * n if distribution is None else column("distribution", distribution, n)
    examples: list[Example] = []
    texts: list[str] = []
    for number, (row, own, aim, mass) in enumerate(zip(rows, questions, targets, masses, strict=True)):
        try:
            text = _json_of(row)
            of_question = own if isinstance(own, str) else ""
            if is_missing(aim) or aim == "verdict":
                examples.append(_example(text, of_question, equality))
            else:
                mass = "" if is_missing(mass) else mass if isinstance(mass, str) else json.dumps(mass)
                examples.append(_soft_example(text, of_question, equality, str(aim), mass))
        except RecordError as exc:
            raise RecordError(f"references, row {number}: {str(exc).removeprefix('references: ')}") from None
        except ConfigError as exc:
            raise ConfigError(f"row {number}: {exc}") from None
        texts.append(text)
    return examples, texts


def _json_of(row: Any) -> str:
    """A row as JSON text, or as the bare text that it is."""
    if is_missing(row):
        raise RecordError(f"{row!r} is missing; {NO_ANSWER}")
    if isinstance(row, str):
        return row
    if isinstance(row, (int, float)) and not isinstance(row, bool):
        return str(row)
    if not isinstance(row, (list, Mapping)):
        row = [[*reference_from(row).names]]  # which refuses what is no reference
    try:
        return json.dumps(row, default=_as_object)
    except (TypeError, ValueError):
        raise RecordError(f"{row!r:.80} is not a list; give a list with one item for each right answer") from None


def _as_object(value: Any) -> Any:
    if isinstance(value, Reference):
        return {"text": value.text, "aliases": value.aliases, "weight": value.weight}
    changed = plain(value)
    if changed is value:
        raise TypeError
    return changed


@lru_cache(maxsize=4096)  # the completions of one question share their references
def _example(text: str, question: str, equality: Verifier | QuestionVerifier) -> Example:
    if text.strip() in ABSENT_TEXTS:
        raise RecordError(f'{text!r} stands for a missing value; {NO_ANSWER}, or ["{text.strip()}"] where it is one')
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = list_in_text(text)
    if isinstance(value, list):
        parsed = tuple(map(reference_from, value))
    else:  # a bare text, also one that happens to be a number in JSON
        parsed = references_from(value if isinstance(value, (str, Mapping)) else text)
    if not isinstance(equality, QuestionVerifier):  # another one's references are no answers, but what it checks with
        check_references(parsed, equality)
    return Example("", question, parsed)


@lru_cache(maxsize=4096)
def _soft_example(
    text: str, question: str, equality: Verifier | QuestionVerifier, target: str, distribution: str
) -> Example:
    """The question with soft labels; the same one for all its completions, so that they share its masses."""
    masses = None
    if distribution:
        try:
            masses = json.loads(distribution)
        except ValueError:
            masses = None
        if not isinstance(masses, dict):
            raise RecordError(f"distribution = {distribution!r:.80} is not a mapping of answers to probabilities")
    return with_target(replace(_example(text, question, equality), distribution=masses), cast("Target", target))


def names_of(column_: Sequence[str] | None, n: int) -> list[str] | None:
    """What tells questions apart, when the data set says so."""
    return None if column_ is None else [str(name) for name in column("question_id", column_, n)]
