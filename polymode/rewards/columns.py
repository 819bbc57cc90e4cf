"""Columns of a data set as a reward function gets them: one value for each completion, checked before any is used."""

from __future__ import annotations

from typing import Any

from polymode.errors import ConfigError, RecordError
from polymode.prompts import MAX_K
from polymode.references import is_missing, plain
from polymode.rewards.questions import Equality, question_from
from polymode.types import Example


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
    n: int,
    verifier: Equality,
    *,
    question: Any = None,
    target: Any = None,
    distribution: Any = None,
) -> list[Example]:
    """The question of each completion, from the columns of a data set; rows are read by `question_from`.

    Args:
        references: the column: a row for each completion.
        n: completions.
        verifier: refuses references that it cannot tell apart.
        question: the column of questions, or None.
        target: the column of targets, or None.
        distribution: the column of reference distributions, mappings or their JSON, or None.

    Raises:
        RecordError: a column of another length, or a row that `question_from` refuses; says which.
    """
    if references is None:
        raise RecordError("references: the data set has no such column; add one with the right answers of each row")
    rows = column("references", references, n)
    questions = [""] * n if question is None else column("question", question, n)
    targets = [None] * n if target is None else column("target", target, n)
    masses = [None] * n if distribution is None else column("distribution", distribution, n)
    examples: list[Example] = []
    for number, (row, own, aim, mass) in enumerate(zip(rows, questions, targets, masses, strict=True)):
        try:
            examples.append(
                question_from(
                    row,
                    verifier,
                    question=own if isinstance(own, str) else "",
                    target=None if is_missing(aim) else str(aim),
                    distribution=mass,
                )
            )
        except RecordError as exc:
            raise RecordError(f"references, row {number}: {str(exc).removeprefix('references: ')}") from None
        except ConfigError as exc:
            raise ConfigError(f"row {number}: {exc}") from None
    return examples
