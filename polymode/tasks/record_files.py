"""Rows of a table file or of a Hugging Face data set, each with its position.

JSON (a list of objects, or one a line, whatever the file is called), CSV, TSV (each also ``.gz`` or ``.zip``) and
Parquet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polymode.errors import DataNotFoundError, MissingExtraError, RecordError
from polymode.messages import question_text
from polymode.references import (
    ABSENT_TEXTS,
    NO_ANSWER,
    is_list_of_references,
    is_missing,
    is_printed_array,
    list_in_text,
    plain,
    reference_from,
)
from polymode.runs.validation import shorten
from polymode.tasks import Split
from polymode.tasks.data_files import SUFFIXES, open_text
from polymode.tasks.json_files import read_json_objects
from polymode.types import Reference

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""Names that files, columns and data sets use for the three splits."""


ListTexts = Literal["detect", "parse", "keep"]
"""Whether a text may be a list: when it can be nothing else, always, or never."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row as read."""

    where: str
    """Place for error messages: ``questions.jsonl, line 3``."""
    number: int
    """Number of the row in its file, from 1."""
    fields: Mapping[str, Any]
    is_text: bool
    """Whether the format has only text, so that lists are written in a cell."""

    def get(self, field: str) -> Any:
        """Value of a field; dots select fields of nested objects unless a field has the whole name.

        Raises:
            RecordError: there is no such field.
        """
        value: Any = self.fields
        for name in [field] if field in self.fields else field.split("."):
            if not isinstance(value, Mapping) or name not in value:
                fields = ", ".join(map(repr, self.fields))
                raise RecordError(f"{self.where}: field {field!r} is missing; add it, or name another ({fields})")
            value = value[name]
        return value

    def text(self, field: str, hint: str = "") -> str:
        """A field that must be a text, or one message of a user, without space around it.

        ``hint`` ends the error. Raises RecordError.
        """
        value = question_text(self.get(field))
        if not isinstance(value, str) or not value.strip():
            raise RecordError(f"{self.where}, field {field!r}: {shorten(value)} must be a text that is not empty{hint}")
        return value.strip()

    def identity(self, field: str) -> str:
        """A field that must be a text or a whole number, as text. Raises RecordError."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise RecordError(f"{self.where}, field {field!r}: {value!r} must be a text or whole number")
        return str(value)

    def items(self, field: str, list_texts: ListTexts = "detect") -> list[Any]:
        """A field as a list: a single value becomes a list of one.

        A text that writes out a list (JSON, or as Python prints it) is that list. In a text cell ``|`` separates names.

        Args:
            field: its name.
            list_texts: whether texts may be lists, see `Records`.

        Raises:
            RecordError: no such field, a missing value, or a text that may or may not be a list.
        """
        value, where = plain(self.get(field)), f"{self.where}, field {field!r}"
        is_cell = self.is_text and isinstance(value, str)
        if is_missing(value) or (is_cell and not value.strip()):
            raise RecordError(f"{where}: the value is missing; {NO_ANSWER}")
        if not isinstance(value, str):
            return value if isinstance(value, list) else [value]
        if list_texts == "keep":
            return [value]
        items = list_in_text(value)
        if items is not None and (list_texts == "parse" or is_list_of_references(items)):
            return items
        if list_texts == "parse":
            raise RecordError(f"{where}: {shorten(value)} is no list; with list_texts = 'parse' every text must be one")
        opens, closes = value.strip()[:1] == "[", value.strip()[-1:] == "]"
        if (opens and (closes or is_cell)) or is_printed_array(value):
            raise RecordError(
                f'{where}: {shorten(value)} may be a list or a text; write the list as JSON, ["...", "..."], or say '
                "list_texts = 'keep' (texts as they are) or 'parse' (lists)"
            )
        if not is_cell:
            return [value]
        if value.strip() in ABSENT_TEXTS:
            raise RecordError(
                f'{where}: {value!r} stands for a missing value; {NO_ANSWER}, or ["{value.strip()}"] where it is one'
            )
        if value.lstrip().startswith("{"):
            return [self._object(value, where)]
        return [part.strip() for part in value.split("|")]

    def references(self, field: str) -> tuple[Reference, ...]:
        """A field as references, as written; raises RecordError."""
        try:
            return tuple(reference_from(value) for value in self.items(field))
        except RecordError as exc:
            problem = str(exc).removeprefix("references: ")
            where = "" if problem.startswith(self.where) else f"{self.where}, field {field!r}: "
            raise RecordError(f"{where}{problem}") from None

    def per_reference(self, field: str, count: int) -> list[Any]:
        """A field with one entry for each of ``count`` references; raises RecordError where it has others."""
        values = plain(self.get(field))
        if isinstance(values, str):
            bars = [part.strip() for part in values.split("|")] if self.is_text and values.strip() else [values]
            values = bars if (items := list_in_text(values)) is None else items
        values = [] if is_missing(values) else values if isinstance(values, list) else [values]
        if len(values) != count:
            raise RecordError(
                f"{self.where}, field {field!r}: {len(values)} entries for {count} references; give one per reference"
            )
        return values

    def _object(self, value: str, where: str) -> Any:
        try:
            return json.loads(value)
        except ValueError as exc:
            raise RecordError(f"{where}: {shorten(value)} is not JSON ({exc})") from None


def transposed(value: Any, names: Sequence[str], where: str) -> Any:
    """Items as lists ``[value of the first name, of the second, ...]``, whichever way an object holds them.

    The Hugging Face hub stores a list of objects as an object of lists, or as it is. Anything else is given back.

    Raises:
        RecordError: a name is missing, or the lists differ in length.

    >>> transposed({"title": ["a", "b"], "sent_id": [0, 1]}, ("title", "sent_id"), "")
    [['a', 0], ['b', 1]]
    """
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        value = {name: [item.get(name) for item in value] for name in names if any(name in item for item in value)}
    if not isinstance(value, Mapping):
        return value
    columns = [value.get(name) for name in names]
    if not all(isinstance(column, list) for column in columns) or len({len(column or ()) for column in columns}) > 1:
        raise RecordError(f"{where}: {shorten(value)} must hold lists of one length called {', '.join(names)}")
    return [list(item) for item in zip(*columns, strict=True)]  # type: ignore[arg-type]


def format_of(path: Path) -> str:
    """Ending that names the format, compression left out; empty when unknown."""
    name = path.name.lower()
    for suffix in SUFFIXES[1:]:
        name = name.removesuffix(suffix)
    return next((ending for ending in FORMATS if name.endswith(ending)), "")


def split_files(folder: Path) -> dict[Split, Path]:
    """Files of a folder named by their split (``train.jsonl``, ``dev.csv.gz``).

    Raises:
        DataNotFoundError: there is none.
        RecordError: two files for one split.
    """
    files: dict[Split, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(path.name.split(".")[0].lower())
        if split is None or not format_of(path):
            continue
        if split in files:
            raise RecordError(f"{folder}: {files[split].name} and {path.name} are both {split}; keep one of them")
        files[split] = path
    if not files:
        raise DataNotFoundError(
            f"{folder} holds no file named train, validation or test in a known format ({', '.join(FORMATS)}); "
            "name the data file itself"
        )
    return files


def read_records(path: Path) -> Iterator[Record]:
    """Rows of one file, read on demand.

    Raises:
        DataNotFoundError: no such file.
        RecordError: unknown format; while reading, a row that cannot be read.
        MissingExtraError: Parquet without ``pyarrow``.
    """
    if not path.is_file():
        raise DataNotFoundError(f"data file {str(path)!r} does not exist: check the path")
    kind = format_of(path)
    if not kind:
        raise RecordError(f"{path}: the format is not known by its name; use one of {', '.join(FORMATS)}")
    return _READERS[kind](path)


def load_hub(name: str, config: str | None) -> dict[Split, Iterable[Record]]:
    """Splits of a data set of the Hugging Face hub (or of a local folder ``datasets`` reads); unknown ones left out.

    Raises:
        MissingExtraError: ``datasets`` is not installed.
        DataNotFoundError: it cannot be loaded, or has no split with a known name.
    """
    try:
        from datasets import load_dataset
    except ImportError:
        raise MissingExtraError("datasets", "train", f"Loading the data set {name!r} by name") from None
    try:
        loaded: Any = load_dataset(name, config)
    except Exception as exc:  # every way a download can fail: name, access, network, disk
        raise unreachable(f"data set {name!r}", exc) from exc
    splits: dict[Split, Iterable[Record]] = {}
    for own, rows in loaded.items():
        split = SPLIT_NAMES.get(str(own).lower())
        if split is not None:
            splits.setdefault(split, _objects(rows, f"{name} ({own}), row"))
    if not splits:
        raise DataNotFoundError(f"data set {name!r} has no split train, validation or test, only {', '.join(loaded)}")
    return splits


def unreachable(what: str, exc: Exception) -> DataNotFoundError:
    """The error for something of the hub that cannot be loaded, with the first line of the reason."""
    reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
    return DataNotFoundError(
        f"cannot load {what}: {reason}; check the name (or path), the network and your access, or name files of your "
        "own with --data"
    )


def _json(path: Path) -> Iterator[Record]:
    for where, number, row in read_json_objects(path, by_lines=format_of(path) != ".json"):
        yield Record(where, number, row, is_text=False)


def _objects(rows: Iterable[Any], where: str) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise RecordError(f"{where} {number}: an object is needed, got {type(row).__name__}")
        yield Record(f"{where} {number}", number, row, is_text=False)


def read_cells(path: Path) -> Iterator[Record]:
    """Rows of a file of comma-separated values, or of tab-separated ones when its name says so."""
    delimiter = "\t" if format_of(path) == ".tsv" else ","
    csv.field_size_limit(2**31 - 1)
    with open_text(path) as handle:
        reader = csv.DictReader(handle, delimiter=delimiter, strict=True)
        try:
            for number, row in enumerate(reader, 1):
                where = f"{path}, row {number}"
                if None in row:
                    raise RecordError(f"{where}: more cells than columns; quote cells that hold {delimiter!r}")
                yield Record(where, number, row, is_text=True)
        except csv.Error as exc:
            raise RecordError(f"{path}, after line {reader.line_num}: {exc}; correct the quoting") from None


def _parquet(path: Path) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "train", f"Reading {path.name}") from None
    try:
        with parquet.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            yield from _objects(rows, f"{path}, row")
    except ArrowException as exc:
        raise RecordError(f"{path}: not a readable Parquet file ({exc}); write it again") from None


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
    ".csv": read_cells,
    ".tsv": read_cells,
    ".parquet": _parquet,
}
FORMATS = tuple(_READERS)
"""Endings that name a format."""
