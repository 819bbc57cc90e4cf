"""The objects of a JSON file, however they are arranged: in one list, one a line, or one after the other.

People call both arrangements ``.json`` and ``.jsonl``, so the first character decides, not the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import RecordError
from polymode.tasks.data_files import open_text

JsonObject = tuple[str, int, Mapping[str, Any]]
"""Place for error messages, number and fields."""

_SPACE = re.compile(r"\s*")


def read_json_objects(path: Path, *, by_lines: bool = False) -> Iterator[JsonObject]:
    """The objects of a file with place and number: that of the item in a list, else that of its line.

    Args:
        path: the file.
        by_lines: each object has a line of its own, unless all stand in a list; then a large file is never in memory
            at once.

    Raises:
        DataNotFoundError: no such file.
        RecordError: not JSON, or an item that is no object; says where.
    """
    if _first_mark(path) == "[":
        yield from _listed(path)
    elif not by_lines:
        yield from _concatenated(path)
    else:
        with open_text(path) as handle:
            for number, row in runs.json_objects(handle, path):
                yield f"{path}, line {number}", number, row


def _first_mark(path: Path) -> str:
    """First character that is not white space; empty where there is none."""
    with open_text(path) as handle:
        while block := handle.read(4096):
            if mark := block.lstrip()[:1]:
                return mark
    return ""


def _listed(path: Path) -> Iterator[JsonObject]:
    text = _text(path)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _not_json(path, text, exc) from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise RecordError(f"{path}, item {number}: an object is needed, got {type(row).__name__}")
        yield f"{path}, item {number}", number, row


def _concatenated(path: Path) -> Iterator[JsonObject]:
    text, decoder = _text(path), json.JSONDecoder()
    place = number = 0
    line = 1
    while True:
        start = _after_space(text, place)
        line += text.count("\n", place, start)
        if start == len(text):
            return
        try:
            row, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as exc:
            raise _not_json(path, text, exc) from None
        if not isinstance(row, Mapping):
            raise RecordError(f"{path}, line {line}: an object is needed, got {type(row).__name__}")
        number = max(number + 1, line)
        yield f"{path}, line {line}", number, row
        line += text.count("\n", start, place)


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()


def _text(path: Path) -> str:
    with open_text(path) as handle:
        return handle.read()


def _not_json(path: Path, text: str, exc: Exception) -> RecordError:
    """One line that says where the text stops being JSON."""
    if isinstance(exc, RecursionError):
        return RecordError(f"{path}: not valid JSON (nested too deeply); correct the file")
    place = getattr(exc, "pos", None)
    where = path if place is None else f"{path}, line {text.count(chr(10), 0, place) + 1}"
    reason = getattr(exc, "msg", "a number is too long")
    return RecordError(f"{where}: not valid JSON ({reason}); give a list of objects, or one object a line")
