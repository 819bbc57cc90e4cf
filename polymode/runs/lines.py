"""Files of JSON objects, one a line, read in order or at known offsets (layer L3)."""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from polymode.errors import PolymodeError, RecordError, RunIncompleteError

MAX_LINE = 64_000_000
"""Bytes of the longest line, or file of one object, that is read; the longest completion is read with room to spare."""
_FIX = "one JSON object a line is needed"


class Stamp(NamedTuple):
    """Which version of a file was read."""

    inode: int
    modified: int
    size: int


class ChangedError(PolymodeError):
    """The file is not the one whose offsets are known."""


def stamp_of(path: Path | int) -> Stamp:
    """Which version of the file is there; raises OSError."""
    status = os.stat(path)
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)


def raw_lines(path: Path, label: str | None = None) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file that are not blank, unparsed: number from 1, blank lines counted; offset in bytes; content.

    Args:
        path: the file.
        label: what errors call it; its path when None.

    Raises:
        RunIncompleteError: there is no such file.
        OSError: it cannot be read.
    """
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        raise RunIncompleteError(
            f"{label or path} is missing: check the path, or run the stage that writes it"
        ) from None
    with handle:
        number = offset = 0
        while content := handle.readline(MAX_LINE + 1):
            number += 1
            if (content.removeprefix(BOM_UTF8) if number == 1 else content).strip():
                yield number, offset, content
            offset += len(content)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Every object of a file.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line that is not a JSON object, not UTF-8 or too long; names the line.
    """
    for number, _, content in raw_lines(path):
        yield parse_object(content, f"{path}, line {number}", _FIX)


def lines_at(
    path: Path, stamp: Stamp | None, offsets: Iterable[int], label: str | None = None
) -> list[tuple[str, bytes]]:
    """What stands at the offsets, each with the place that errors name; ``stamp`` None: of a file that still grows.

    Raises:
        ChangedError: the file is no longer the one with this stamp.
        OSError: it cannot be read.
    """
    label = label or str(path)
    with path.open("rb") as handle:
        if stamp is not None and stamp_of(handle.fileno()) != stamp:
            raise ChangedError(f"{label} has changed: read it again")
        lines = []
        for offset in offsets:
            handle.seek(offset)
            lines.append((f"{label}, byte {offset}", handle.readline(MAX_LINE + 1)))
        return lines


def read_at(path: Path, stamp: Stamp, offsets: Iterable[int], label: str | None = None) -> list[dict[str, Any]]:
    """The objects that start at the offsets; raises as `lines_at` and `parse_object`."""
    return [parse_object(content, where, _FIX) for where, content in lines_at(path, stamp, offsets, label)]


def json_objects(lines: Iterable[str], source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line of an open text file that is not blank; raises as `parse_object`."""
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, parse_object(line, f"{source}, line {number}", _FIX)
    except UnicodeDecodeError as exc:
        raise RecordError(f"{source}: not UTF-8 text ({exc.reason}); convert the file to UTF-8") from None


def parse_object(content: bytes | str, where: str, fix: str, longest: int = MAX_LINE) -> dict[str, Any]:
    """One JSON object.

    Raises:
        RecordError: it is none, or longer than ``longest`` bytes; says where, why and what to do.
    """
    if len(content) > longest:
        raise RecordError(f"{where}: longer than {longest:,} bytes; {fix}")
    try:
        row = json.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except UnicodeDecodeError as exc:
        raise RecordError(f"{where}: not UTF-8 text ({exc.reason}); convert the file to UTF-8") from None
    except RecursionError:
        raise RecordError(f"{where}: not valid JSON (nested too deeply); {fix}") from None
    except ValueError as exc:  # also a number of too many digits
        text = content if isinstance(content, bytes) else content.encode()
        at = f", line {exc.lineno}" if isinstance(exc, json.JSONDecodeError) and b"\n" in text.rstrip() else ""
        reason = getattr(exc, "msg", "a number is too long")
        raise RecordError(f"{where}{at}: not valid JSON ({reason}); {fix}") from None
    if not isinstance(row, dict):
        raise RecordError(f"{where}: a JSON object is needed, got {type(row).__name__}; {fix}")
    return row
