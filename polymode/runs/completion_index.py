"""Where the completions of each question stand in a file, so that a large one is read question by question (layer L3).

An index holds three numbers for a completion and the id of each question, no text: 14 bytes and about 70. It is made
from blocks of lines, which may be scanned side by side, and every line is checked. Samples of a question may stand
anywhere in the file.
Axes: ``_N`` completions in the order question, sample; ``_P`` questions in order of first appearance.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polymode.errors import ConfigError, DataNotFoundError, PolymodeError, RecordError
from polymode.prompts import check_k
from polymode.runs.completion_blocks import BLOCK, DIGEST_SIZE, Label, Reading, Scan, blocks_of, scan_block
from polymode.runs.completion_lines import (
    FIX,
    LINES,
    Guesses,
    completion_from,
    example_of,
    other_question,
    repeated_sample,
    shared_fields,
)
from polymode.runs.lines import Stamp, lines_at, stamp_of
from polymode.runs.validation import parsed_record
from polymode.types import Completion

log = logging.getLogger(__name__)
Ints = NDArray[Any]
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or anything that does the same elsewhere: results in the order of the items."""


class Questions(NamedTuple):
    """Some questions, and where their completions stand; what a worker is sent."""

    ids: tuple[str, ...]
    start: Ints
    """Of each question's completions in the arrays below, and the end of the last."""
    offset_N: Ints
    sample_N: Ints

    def read(self, path: Path, stamp: Stamp, reading: Reading, numbers: Sequence[int]) -> dict[int, list[Completion]]:
        """The completions of some of them, in sample order; raises ChangedError, RecordError and OSError."""
        places = [range(*self.start[number : number + 2].tolist()) for number in numbers]
        offsets, samples = self.offset_N.tolist(), self.sample_N.tolist()
        lines = iter(lines_at(path, stamp, [offsets[place] for own in places for place in own]))
        texts: dict[int, list[Completion]] = {}
        for number, own in zip(numbers, places, strict=True):
            rows = [parsed_record(LINES, content, where, FIX) for where, content in islice(lines, len(own))]
            first = min(range(len(own)), key=lambda n, own=own: offsets[own[n]])  # this line says what the question is
            example = example_of(rows[first], self.ids[number], target=reading.target)
            texts[number] = [
                completion_from(row, example, samples[place], k=reading.k, confidence=reading.confidence)
                for row, place in zip(rows, own, strict=True)
            ]
        return texts


@dataclass(frozen=True, slots=True, eq=False)
class CompletionIndex:
    """Where the completions of a file stand."""

    path: Path
    stamp: Stamp
    sha256: str
    """Of the file."""
    ids: list[str]
    """_P."""
    start_P: Ints
    """Of each question's completions, and the end of the last: shape (P + 1,)."""
    offset_N: Ints
    """In bytes."""
    sample_N: Ints
    k_N: Ints
    label_P: list[str]
    """The label of each question; empty where none was asked for."""

    def __len__(self) -> int:
        """Number of completions."""
        return len(self.offset_N)

    def questions(self, first: int, end: int) -> Questions:
        """The questions ``first`` to ``end``, which is none of them."""
        start, stop = int(self.start_P[first]), int(self.start_P[end])
        return Questions(
            tuple(self.ids[first:end]),
            self.start_P[first : end + 1] - start,
            self.offset_N[start:stop],
            self.sample_N[start:stop],
        )

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """First question and end of batches of whole questions, ``size`` completions or somewhat more in each."""
        first, n_questions = 0, len(self.ids)
        while first < n_questions:
            end = int(np.searchsorted(self.start_P, self.start_P[first] + size))
            end = min(max(end, first + 1), n_questions)
            yield first, end
            first = end


def index_completions(path: Path, reading: Reading, map_: Map = map, *, label: Label | None = None) -> CompletionIndex:
    """Index a file of completions, block by block.

    Args:
        path: the file.
        reading: how its lines are read.
        map_: how the scan is applied to the blocks.
        label: of each question, from its first line.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line cannot be used; names line, field, value and fix.
        ConfigError: k is not allowed, or a question has no label.
    """
    if reading.k is not None:
        check_k(reading.k)
    try:
        stamp, digest = stamp_of(path), hashlib.sha256()
        merged = _Merged(path)
        scan: Scan
        for scan in map_(partial(scan_block, path, reading, label), blocks_of(path, digest)):
            merged.add(scan, has_label=label is not None)
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist: check the path, or generate completions first") from None
    except PolymodeError:
        raise
    except OSError as exc:
        raise DataNotFoundError(f"{path} cannot be read: {exc.strerror or exc}") from None
    return merged.index(stamp, digest.hexdigest())


class _Merged:
    """The blocks so far, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A file of ten million completions has a million questions: beside its id, a question takes no Python object.
        self.numbers: dict[str, int] = {}
        self.anonymous: dict[bytes, str] = {}
        self.digests = bytearray()
        self.lines, self.offsets = array("q"), array("q")
        self.labels: list[str] = []
        self.columns: dict[str, list[Ints]] = {"offset": [], "question": [], "sample": [], "k": []}
        self.guesses = Guesses()

    def add(self, scan: Scan, *, has_label: bool) -> None:
        number_U = np.empty(len(scan.name_U), dtype=np.int32)
        for u, (name, line) in enumerate(zip(scan.name_U, scan.line_U, strict=True)):
            if isinstance(name, bytes):
                id_ = self.anonymous.setdefault(name, str(line))
            else:
                id_ = str(line) if name is None else name
            number_U[u] = number = self.numbers.setdefault(id_, len(self.lines))
            if number == len(self.lines):
                self.digests += scan.digest_U[u]
                self.lines.append(line)
                self.offsets.append(scan.offset_U[u])
                if has_label:
                    self._label(scan.label_U[u])
            elif self._digest(number) != scan.digest_U[u] and self._differ(number, scan.offset_U[u]):
                raise RecordError(f"{self.path}, line {line}: {other_question(id_, self.lines[number])}")
        if scan.error is not None:
            problem = scan.error.problem
            if not problem:
                number = int(number_U[scan.error.question])
                id_ = next(id_ for id_, other in self.numbers.items() if other == number)
                problem = f"{self.path}, line {scan.error.line}: {other_question(id_, self.lines[number])}"
            raise RecordError(problem)
        self.columns["offset"].append(np.array(scan.offset_N, dtype=np.int64))
        self.columns["question"].append(number_U[np.array(scan.question_N, dtype=np.int64)])
        sample_N = np.array(scan.sample_N, dtype=np.int64)
        self.columns["sample"].append(sample_N.astype(np.int32) if sample_N.max(initial=0) < 2**31 else sample_N)
        self.columns["k"].append(np.array(scan.k_N, dtype=np.int16))
        self.guesses.add_all(scan.guesses)

    def _digest(self, number: int) -> bytes:
        return bytes(self.digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)])

    def _label(self, label: str | ConfigError) -> None:
        if isinstance(label, ConfigError):
            raise label
        self.labels.append(sys.intern(label))

    def _differ(self, number: int, offset: int) -> bool:
        """Whether two lines say different questions: 1 and 1.0 have different digests and are equal."""
        first, second = (
            shared_fields(parsed_record(LINES, content, where, FIX))
            for where, content in lines_at(self.path, stamp_of(self.path), (self.offsets[number], offset))
        )
        return first != second

    def index(self, stamp: Stamp, sha256: str) -> CompletionIndex:
        """All of it, in the order question, sample."""
        del self.digests, self.anonymous
        offset_N, question_N, sample_N, k_N = (  # one by one, so that one alone is in memory twice
            np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
            for parts in (self.columns.pop(name) for name in list(self.columns))
        )
        if not len(offset_N):
            raise RecordError(
                f"{self.path}: no completions; write one JSON object a line with 'completion' and 'references'"
            )
        if note := self.guesses.difference():
            log.warning("%s: %s", self.path, note)
        _number_samples(question_N, sample_N)
        step_N = np.diff(question_N)
        is_in_order = ((step_N > 0) | ((step_N == 0) & (np.diff(sample_N) >= 0))).all()
        if not is_in_order:
            order_N = np.lexsort((sample_N, question_N))
            question_N, sample_N, offset_N, k_N = (x_N[order_N] for x_N in (question_N, sample_N, offset_N, k_N))
        ids = list(self.numbers)
        self._refuse_repeats(ids, question_N, sample_N, offset_N)
        start_P = np.searchsorted(question_N, np.arange(len(ids) + 1))
        return CompletionIndex(self.path, stamp, sha256, ids, start_P, offset_N, sample_N, k_N, self.labels)

    def _refuse_repeats(self, ids: list[str], question_N: Ints, sample_N: Ints, offset_N: Ints) -> None:
        is_repeat_N = (question_N[1:] == question_N[:-1]) & (sample_N[1:] == sample_N[:-1])
        repeats = np.flatnonzero(is_repeat_N) + 1
        if not len(repeats):
            return
        later = int(repeats[np.argmin(offset_N[repeats])])
        first_line, line = (_line_at(self.path, int(offset_N[n])) for n in (later - 1, later))
        problem = repeated_sample(ids[question_N[later]], int(sample_N[later]), first_line)
        raise RecordError(f"{self.path}, line {line}: {problem}")


def _number_samples(question_N: Ints, sample_N: Ints) -> None:
    """Give lines without a sample number, in the order of the file, the first that no earlier line of theirs has."""
    is_open_N = sample_N < 0
    if not is_open_N.any():
        return
    order_N = np.argsort(question_N, kind="stable")
    is_open_N, question_N = is_open_N[order_N], question_N[order_N]
    start_P = np.flatnonzero(np.diff(question_N, prepend=-1))
    size_P = np.diff(np.append(start_P, len(order_N)))
    n_open_P = np.add.reduceat(is_open_N, start_P, dtype=np.int64)
    place_N = np.arange(len(order_N)) - np.repeat(start_P, size_P)
    is_alone_N = np.repeat(n_open_P == size_P, size_P)  # none of the question says a number: 0, 1, 2, ...
    sample_N[order_N[is_alone_N]] = place_N[is_alone_N]
    for p in np.flatnonzero((n_open_P > 0) & (n_open_P < size_P)).tolist():
        numbers: set[int] = set()
        for place in range(int(start_P[p]), int(start_P[p] + size_P[p])):
            n = int(order_N[place])
            if is_open_N[place]:
                sample_N[n] = next(number for number in count(len(numbers)) if number not in numbers)
            numbers.add(int(sample_N[n]))


def _line_at(path: Path, offset: int) -> int:
    """Number of the line that starts at an offset."""
    line = 1
    with path.open("rb") as handle:
        while offset and (content := handle.read(min(BLOCK, offset))):
            line, offset = line + content.count(b"\n"), offset - len(content)
    return line
