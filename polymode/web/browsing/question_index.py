"""Where the lines of each question stand in judged.jsonl and completions.jsonl, and what lists filter by (layer L4).

Made by reading both files once; it keeps numbers and ids, no texts, so that a run of a hundred thousand completions
takes some megabytes.
"""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.web.browsing.judged import Judged, judged_from
from polymode.web.browsing.lines import Line, Stamp, read_lines, stamp_of

_PAUSE_AFTER = 500
"""Lines that are read in one go; then other threads get their turn."""
NOWHERE = 2**64 - 1
"""Offset of a completion that is not kept."""


class Kind(IntFlag):
    """What a question's completions went through."""

    MISSED = 1
    """No answer of any of them is right."""
    MALFORMED = 2
    """One of them is not clean."""
    OVERCONFIDENT = 4
    """One of them holds a wrong answer with a confidence of at least SURE."""
    UNSCORED = 8
    """An answer could not be judged."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Offsets of the judged lines of one question by sample, and of their completions."""

    judged: tuple[int, ...]
    completions: tuple[int, ...]
    """NOWHERE for one that is not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Questions of a run in the order in which they stand in judged.jsonl."""

    ids: tuple[str, ...]
    kinds: bytes
    """A `Kind` each."""
    found: tuple[int, ...]
    """Distinct references found by all samples of each question."""
    stamps: tuple[Stamp, Stamp | None]
    """Of judged.jsonl, and of completions.jsonl where it is kept."""
    _starts: array[int] = field(repr=False)
    _judged: array[int] = field(repr=False)
    _completions: array[int] = field(repr=False)
    _numbers: Mapping[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def number(self, id_: str) -> int | None:
        """Place of a question by its id."""
        return self._numbers.get(id_)

    def lines(self, number: int) -> Lines:
        """Where a question stands."""
        start, end = self._starts[number], self._starts[number + 1]
        return Lines(tuple(self._judged[start:end]), tuple(self._completions[start:end]))

    def count(self, kind: Kind) -> int:
        """Questions of this kind."""
        return sum(1 for own in self.kinds if own & kind)

    def select(self, kind: Kind | None, part: str = "") -> list[int]:
        """Places of the questions of this kind (all: None) whose id holds ``part``."""
        return [
            number
            for number, own in enumerate(self.kinds)
            if (kind is None or own & kind) and (not part or part in self.ids[number])
        ]


def stamps_of(judged: Path, completions: Path | None) -> tuple[Stamp, Stamp | None]:
    """Which versions of both files are there; raises OSError."""
    return stamp_of(judged), None if completions is None else stamp_of(completions)


def build_index(judged: Path, completions: Path | None, name: str) -> Index:
    """Read both files once.

    Args:
        judged: judged.jsonl.
        completions: completions.jsonl, where it is kept.
        name: of the run, for errors.

    Raises:
        RecordError: a line cannot be used; names file and line.
        OSError: a file cannot be read.
    """
    stamps = stamps_of(judged, completions)
    questions: dict[str, _Question] = {}
    shown = f"{name}/{runs.JUDGED}"
    for line in read_lines(judged, shown):
        _pause(line.number)
        one = judged_from(line.row, f"{shown}, line {line.number}")
        questions.setdefault(one.id, _Question()).take(one, line.offset)
    texts = {} if completions is None else _completions(completions, f"{name}/{runs.COMPLETIONS}")
    starts, offsets, whole = array("Q", [0]), array("Q"), array("Q")
    for id_, question in questions.items():
        for sample, offset in sorted(question.offsets):
            offsets.append(offset)
            whole.append(texts.get((id_, sample), NOWHERE))
        starts.append(len(offsets))
    return Index(
        ids=tuple(questions),
        kinds=bytes(question.kind for question in questions.values()),
        found=tuple(question.n_found for question in questions.values()),
        stamps=stamps,
        _starts=starts,
        _judged=offsets,
        _completions=whole,
        _numbers={id_: number for number, id_ in enumerate(questions)},
    )


class _Question:
    """What is gathered of one question."""

    __slots__ = ("found", "has_hit", "kind", "offsets")

    def __init__(self) -> None:
        self.offsets: list[tuple[int, int]] = []
        self.found: set[int] = set()
        self.has_hit = False
        self.kind = Kind.MISSED

    def take(self, one: Judged, offset: int) -> None:
        self.offsets.append((one.sample, offset))
        self.found |= one.found
        self.has_hit |= one.n_hits > 0
        if "correct" in one.verdicts:
            self.kind &= ~Kind.MISSED
        if "unscored" in one.verdicts:
            self.kind = (self.kind | Kind.UNSCORED) & ~Kind.MISSED
        if one.status != "clean":
            self.kind |= Kind.MALFORMED
        if one.is_overconfident:
            self.kind |= Kind.OVERCONFIDENT

    @property
    def n_found(self) -> int:
        return len(self.found) or int(self.has_hit)


def _completions(path: Path, shown: str) -> dict[tuple[str, int], int]:
    """Offset by id and sample, both as `read_completions` of polymode.evaluate gives them."""
    found: dict[tuple[str, int], int] = {}
    samples: dict[str, int] = {}
    unnamed: dict[str, str] = {}
    for line in read_lines(path, shown):
        _pause(line.number)
        id_ = _id_of(line, unnamed)
        sample = line.row.get("sample")
        if not isinstance(sample, int):
            sample = samples.get(id_, 0)
            while (id_, sample) in found:
                sample += 1
            samples[id_] = sample + 1
        found.setdefault((id_, sample), line.offset)
    return found


def _id_of(line: Line, unnamed: dict[str, str]) -> str:
    """The id that a line says; lines without one share that of the first with the same question and references."""
    if line.row.get("id") is not None:
        return str(line.row["id"])
    if not line.row.get("question"):
        return str(line.number)
    told: dict[str, Any] = {name: line.row.get(name) for name in _TELLING}
    return unnamed.setdefault(json.dumps(told, sort_keys=True), str(line.number))


_TELLING = ("question", "references", "exclusive", "distribution", "p_correct")


def _pause(number: int) -> None:
    if number % _PAUSE_AFTER == 0:
        time.sleep(0.001)
