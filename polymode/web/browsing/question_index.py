"""Where the lines of each question stand in judged.jsonl and completions.jsonl, and what lists filter by (layer L6).

Made by reading both files once. It keeps numbers and ids, no texts, so that the index of a hundred thousand completions
takes some megabytes.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import NamedTuple

from polymode import runs

SURE = 0.8
"""A wrong answer with at least this confidence counts as overconfident."""
_PAUSE_AFTER = 500
"""Lines that are read in one go; then other threads get their turn."""
NO_COMPLETION = 2**64 - 1
"""Offset of a completion that is not in completions.jsonl."""


class Kind(IntFlag):
    """What a question's completions went through."""

    MISSED = 1
    """No answer of any of them is correct."""
    MALFORMED = 2
    """One of them is not clean."""
    OVERCONFIDENT = 4
    """One of them holds a wrong answer with a confidence of at least SURE."""
    UNSCORED = 8
    """An answer could not be judged."""


class Offsets(NamedTuple):
    """Where the judged completions of one question start, by sample, and where their texts do."""

    judged: tuple[int, ...]
    completions: tuple[int, ...]
    """NO_COMPLETION for one that has no text."""


@dataclass(frozen=True, slots=True, eq=False)
class QuestionIndex:
    """Questions of a run in the order in which they stand in judged.jsonl."""

    ids: tuple[str, ...]
    kinds: bytes
    """A `Kind` each."""
    figures: Mapping[str, array[float]]
    """Of each question; NaN where there is none.

    ``found``: distinct references that all its completions found. ``score`` and ``tokens``: means of a completion.
    ``wrong``: highest confidence of a wrong answer. ``completions``: how many.
    """
    stamps: tuple[runs.Stamp, runs.Stamp | None]
    """Of judged.jsonl, and of completions.jsonl if there is one."""
    _starts: array[int] = field(repr=False)
    _judged: array[int] = field(repr=False)
    _completions: array[int] = field(repr=False)
    _numbers: Mapping[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def number(self, id_: str) -> int | None:
        """Place of a question by its id."""
        return self._numbers.get(id_)

    def offsets(self, number: int) -> Offsets:
        """Where a question stands."""
        start, end = self._starts[number], self._starts[number + 1]
        return Offsets(tuple(self._judged[start:end]), tuple(self._completions[start:end]))

    def count(self, kind: Kind) -> int:
        """Questions of this kind."""
        return sum(1 for own in self.kinds if own & kind)

    def select(self, kind: Kind | None) -> list[int]:
        """Places of the questions of this kind (all: None)."""
        return [n for n, own in enumerate(self.kinds) if kind is None or own & kind]

    def sort(self, numbers: Sequence[int], name: str, *, is_highest_first: bool) -> list[int]:
        """Questions by a figure, those without it last; equal ones stay in their order."""
        sign, values = -1 if is_highest_first else 1, self.figures[name]
        return sorted(numbers, key=lambda number: (math.isnan(values[number]), sign * values[number], number))


def stamps_of(judged: Path, completions: Path | None) -> tuple[runs.Stamp, runs.Stamp | None]:
    """Which versions of both files are there; raises OSError."""
    return runs.stamp_of(judged), None if completions is None else runs.stamp_of(completions)


def build_index(judged: Path, completions: Path | None, name: str) -> QuestionIndex:
    """Read both files once.

    Args:
        judged: judged.jsonl.
        completions: completions.jsonl, if there is one.
        name: of the run, for errors.

    Raises:
        RecordError: a line cannot be used; names file and line.
        OSError: a file cannot be read.
    """
    stamps = stamps_of(judged, completions)
    questions: dict[str, _Question] = {}
    for line in runs.judged_lines(judged, f"{name}/{runs.JUDGED}"):
        if line.number % _PAUSE_AFTER == 0:
            time.sleep(0.001)
        questions.setdefault(line.judged.id, _Question()).add(line.judged, line.offset)
    texts = {} if completions is None else runs.completion_offsets(completions, f"{name}/{runs.COMPLETIONS}")
    starts, judged_offsets, completion_offsets = array("Q", [0]), array("Q"), array("Q")
    for id_, question in questions.items():
        for sample, offset in sorted(question.offsets):
            judged_offsets.append(offset)
            completion_offsets.append(texts.get((id_, sample), NO_COMPLETION))
        starts.append(len(judged_offsets))
    return QuestionIndex(
        ids=tuple(questions),
        kinds=bytes(question.kind for question in questions.values()),
        figures={
            "found": array("d", (question.n_found for question in questions.values())),
            "score": array("d", (_mean(question.scores) for question in questions.values())),
            "tokens": array("d", (_mean(question.tokens) for question in questions.values())),
            "wrong": array("d", (question.surest_wrong for question in questions.values())),
            "completions": array("d", (len(question.offsets) for question in questions.values())),
        },
        stamps=stamps,
        _starts=starts,
        _judged=judged_offsets,
        _completions=completion_offsets,
        _numbers={id_: number for number, id_ in enumerate(questions)},
    )


class _Question:
    """What is gathered of one question."""

    def __init__(self) -> None:
        self.offsets: list[tuple[int, int]] = []
        self.references: set[int] = set()
        self.n_found = 0
        self.kind = Kind.MISSED
        self.scores: list[float] = []
        self.tokens: list[float] = []
        self.surest_wrong = math.nan

    def add(self, judged: runs.JudgedCompletion, offset: int) -> None:
        self.offsets.append((judged.sample, offset))
        self.references |= judged.references_found
        # Programs that are right all match the one set of tests, and have no numbered reference.
        self.n_found = len(self.references) or int(self.n_found > 0 or any(judged.hits))
        if "unscored" in judged.verdicts:
            self.kind |= Kind.UNSCORED
        if "correct" in judged.verdicts or "unscored" in judged.verdicts:
            self.kind &= ~Kind.MISSED
        if judged.status != "clean":
            self.kind |= Kind.MALFORMED
        if judged.score is not None:
            self.scores.append(judged.score)
        if judged.n_tokens is not None:
            self.tokens.append(judged.n_tokens)
        pairs = zip(judged.verdicts, judged.confidences, strict=True)
        for wrong in (q for verdict, q in pairs if verdict == "wrong" and q is not None):
            self.surest_wrong = wrong if math.isnan(self.surest_wrong) else max(self.surest_wrong, wrong)
        if self.surest_wrong >= SURE:
            self.kind |= Kind.OVERCONFIDENT


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
