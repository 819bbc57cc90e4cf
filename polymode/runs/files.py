"""Whole-or-nothing writing, JSON, and the schema version that every file of a run carries (layer L3).

JSON has no NaN: an undefined number is written as null. Each JSON file, and each *line* of a JSONL file, has a field
``schema``. A version per line instead of a header line, because lines of such files are searched with grep, cut with
head, sampled and concatenated; each of them stays readable by itself. No ``schema`` means polymode 0.1.0.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

import numpy as np

from polymode.errors import PolymodeError, RecordError, RunIncompleteError, WriteError
from polymode.runs.lines import MAX_LINE, parse_object

SCHEMA = 1
"""Version of the files that are written; every lower one is read."""


def check_schema(value: object, where: str) -> None:
    """Refuse a file or line of a newer schema; None, no schema at all, is that of polymode 0.1.0.

    Raises:
        RecordError: names where, the version and the fix.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RecordError(f"{where}: schema = {value!r} is not allowed: give a whole number from 0")
    if value > SCHEMA:
        raise RecordError(
            f"{where}: schema {value} is newer than this polymode, which reads up to schema {SCHEMA}: upgrade polymode"
        )


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    r"""Open ``path`` for text so that it appears whole or not at all; raises WriteError when the system refuses.

    Half of a surrogate pair, which no encoding has, is written as ``\ud83d``: in JSON that is its escape.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as handle:
        yield handle


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, to be written: it is flushed to disk, and then renamed over ``path``.

    Raises:
        WriteError: the system refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    except PolymodeError:  # raised by the code that makes the content; several of them are OSErrors too
        raise
    except OSError as exc:
        raise WriteError(f"cannot write {path}: {exc.strerror or exc}; free space or choose another folder") from exc
    finally:
        with suppress(OSError):  # no part was made, or none can be removed: the first error is the one to report
            part.unlink()


def to_json(value: Any) -> Any:
    """``value`` as plain JSON types: dataclasses to dicts, enums to values, NaN and infinities to None."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, whole or not at all."""
    with writing(path) as handle:
        json.dump(to_json(value), handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def read_json(path: Path, label: str | None = None) -> dict[str, Any]:
    """A file that holds one JSON object.

    Args:
        path: the file.
        label: what errors call it; its path when None.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: it is not a JSON object, or of a newer schema.
        OSError: it cannot be read.
    """
    label = label or str(path)
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_LINE + 1)
    except FileNotFoundError:
        raise RunIncompleteError(f"{label} is missing: run the stage that writes it first") from None
    row = parse_object(content, label, "run the stage that writes it again")
    check_schema(row.get("schema"), label)
    return row


def write_document(path: Path, fields: Mapping[str, Any]) -> None:
    """Write an object with its schema version, whole or not at all."""
    write_json(path, {"schema": SCHEMA, **fields})


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line, whole or not at all; returns the number of lines."""
    return write_rows(path, map(to_json, rows))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """`write_jsonl` for rows of plain JSON types without NaN."""
    count = 0
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    with writing(path) as handle:
        for row in rows:
            handle.write(encode(row) + "\n")
            count += 1
    return count
