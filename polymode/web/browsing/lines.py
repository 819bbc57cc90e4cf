"""Files of JSON objects, one a line, read by line offsets (layer L4)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from polymode.errors import PolymodeError, RecordError

MAX_LINE = 64_000_000
"""Bytes of the longest line that is read; the longest completion is read with room to spare."""


class Stamp(NamedTuple):
    """Which version of a file was read."""

    inode: int
    modified: int
    size: int


class Line(NamedTuple):
    """One object and where it stands."""

    number: int
    """From 1, blank lines counted."""
    offset: int
    """In bytes."""
    row: dict[str, Any]


class ChangedError(PolymodeError):
    """The file is not the one whose offsets are known."""


def stamp_of(path: Path) -> Stamp:
    """Which version of the file is there; raises OSError."""
    return _stamp(os.stat(path))


def read_lines(path: Path, shown: str) -> Iterator[Line]:
    """Every object of a file.

    Args:
        path: the file.
        shown: how errors call it.

    Raises:
        RecordError: a line that is not a JSON object, not UTF-8 or too long; names the line.
        OSError: the file cannot be read.
    """
    with path.open("rb") as handle:
        number = offset = 0
        while True:
            content = handle.readline(MAX_LINE + 1)
            if not content:
                return
            number += 1
            if content.strip():
                yield Line(number, offset, _object(content, f"{shown}, line {number}"))
            offset += len(content)


def read_at(path: Path, shown: str, stamp: Stamp, offsets: Iterable[int]) -> list[dict[str, Any]]:
    """The objects that start at the offsets.

    Raises:
        ChangedError: the file is no longer the one with this stamp.
        RecordError, OSError: as `read_lines`.
    """
    with path.open("rb") as handle:
        if _stamp(os.fstat(handle.fileno())) != stamp:
            raise ChangedError(f"{shown} has changed: read it again")
        return [_at(handle, offset, shown) for offset in offsets]


def parse_object(content: bytes, where: str, fix: str, longest: int) -> dict[str, Any]:
    """One JSON object.

    Raises:
        RecordError: it is none, or longer than ``longest`` bytes; says where, why and what to do.
    """
    if len(content) > longest:
        raise RecordError(f"{where}: longer than {longest:,} bytes; {fix}")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise RecordError(f"{where}: not UTF-8 text ({exc.reason}); {fix}") from None
    except RecursionError:
        raise RecordError(f"{where}: not valid JSON (nested too deeply); {fix}") from None
    except ValueError as exc:  # also a number of too many digits
        at = f", line {exc.lineno}" if isinstance(exc, json.JSONDecodeError) and b"\n" in content.rstrip() else ""
        raise RecordError(
            f"{where}{at}: not valid JSON ({getattr(exc, 'msg', 'a number is too long')}); {fix}"
        ) from None
    if not isinstance(found, dict):
        raise RecordError(f"{where}: a JSON object is needed, got {type(found).__name__}; {fix}")
    return found


def _at(handle: BinaryIO, offset: int, shown: str) -> dict[str, Any]:
    handle.seek(offset)
    return _object(handle.readline(MAX_LINE + 1), f"{shown}, byte {offset}")


def _object(content: bytes, where: str) -> dict[str, Any]:
    return parse_object(content, where, "write the file anew with polymode generate or evaluate", MAX_LINE)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
