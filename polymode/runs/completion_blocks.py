"""Blocks of lines of a file of completions, each scanned by itself for what an index of the file needs (layer L3).

Axes: ``_N`` the lines of a block, ``_U`` its questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from polymode.errors import ConfigError, RecordError
from polymode.runs.completion_lines import (
    FIX,
    LINES,
    Guesses,
    Row,
    example_of,
    k_of,
    shared_fields,
)
from polymode.runs.lines import MAX_LINE
from polymode.runs.validation import parsed_record
from polymode.types import Example, Target
from polymode.verifiers import QuestionVerifier, Verifier

Label = Callable[[Example], str]
BLOCK = 4 * 2**20
"""Bytes that are scanned together, and the rest of the last line."""
DIGEST_SIZE = 16
"""Bytes of what tells whether two lines say the same question."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the lines of a file are read, as for `read_completions`."""

    k: int | None = None
    confidence: bool | None = None
    verifier: Verifier | QuestionVerifier | None = None
    """References that it cannot tell apart are refused; None: they are not checked."""
    target: Target | None = None


class Block(NamedTuple):
    """Whole lines of a file."""

    offset: int
    size: int
    line: int
    """Number of the first."""


class BlockError(NamedTuple):
    """The first line of a block that cannot be used; the lines behind it are not looked at."""

    line: int
    problem: str
    """Where and what; "" for an id that belongs to another question."""
    question: int
    """That question, as a number of the block."""


@dataclass(slots=True)
class Scan:
    """What the lines of a block say."""

    offset_N: list[int] = field(default_factory=list)
    question_N: list[int] = field(default_factory=list)
    sample_N: list[int] = field(default_factory=list)
    """-1 where the line does not say."""
    k_N: list[int] = field(default_factory=list)
    name_U: list[str | bytes | None] = field(default_factory=list)
    """The id; a digest of question and references where there is none; None for a line that stands alone."""
    digest_U: list[bytes] = field(default_factory=list)
    """Of what samples share."""
    line_U: list[int] = field(default_factory=list)
    offset_U: list[int] = field(default_factory=list)
    label_U: list[str | ConfigError] = field(default_factory=list)
    guesses: Guesses = field(default_factory=Guesses)
    error: BlockError | None = None


def blocks_of(path: Path, digest: Any) -> Iterator[Block]:
    """Blocks of whole lines of a file, whose content goes into ``digest``."""
    with path.open("rb") as handle:
        offset, line = 0, 1
        while content := handle.read(BLOCK):
            if not content.endswith(b"\n"):
                content += handle.readline(MAX_LINE + 1)
            digest.update(content)
            yield Block(offset, len(content), line)
            offset, line = offset + len(content), line + content.count(b"\n")


def scan_block(path: Path, reading: Reading, label: Label | None, block: Block) -> Scan:
    """What the lines of a block say, up to the first that cannot be used."""
    with path.open("rb") as handle:
        handle.seek(block.offset)
        content = handle.read(block.size)
    scan, numbers = Scan(), dict[Any, int]()
    shared_U: list[tuple[Any, ...]] = []
    start = 0
    for line in count(block.line):
        if start >= len(content):
            return scan
        end = content.find(b"\n", start) + 1 or len(content)
        text, offset, start = content[start:end], block.offset + start, end
        if text.isspace():
            continue
        where = f"{path}, line {line}"
        try:
            row = parsed_record(LINES, text, where, FIX)
            shared = shared_fields(row)
            name = _name_of(row, shared, line)
            number = numbers.setdefault(name, len(numbers))
            if number == len(shared_U):
                example = example_of(
                    row, str(line) if row.id is None else str(row.id), reading.verifier, reading.target
                )
                shared_U.append(shared)
                _add_question(scan, name, shared, line, offset, example, label)
            elif shared_U[number] != shared:
                scan.error = BlockError(line, "", number)
                return scan
            k = k_of(row, reading.k)
        except (RecordError, ConfigError) as exc:
            problem = str(exc)
            scan.error = BlockError(line, problem if problem.startswith(where) else f"{where}: {problem}", -1)
            return scan
        scan.guesses.add(row, reading.confidence, line)
        scan.offset_N.append(offset)
        scan.question_N.append(number)
        scan.sample_N.append(-1 if row.sample is None else row.sample)
        scan.k_N.append(k)
    return scan


def _name_of(row: Row, shared: Sequence[Any], line: int) -> str | bytes | int:
    """By what the lines of one question are told together within a block."""
    if row.id is not None:
        return str(row.id)
    return _digest(shared) if row.question else line


def _add_question(
    scan: Scan,
    name: str | bytes | int,
    shared: Sequence[Any],
    line: int,
    offset: int,
    example: Example,
    label: Label | None,
) -> None:
    scan.name_U.append(None if isinstance(name, int) else name)
    scan.digest_U.append(name if isinstance(name, bytes) else _digest(shared))
    scan.line_U.append(line)
    scan.offset_U.append(offset)
    if label is not None:
        try:
            scan.label_U.append(label(example))
        except ConfigError as exc:  # counts only where no earlier block has the question
            scan.label_U.append(exc)


def _digest(shared: Sequence[Any]) -> bytes:
    text = json.dumps(list(shared), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_SIZE).digest()
