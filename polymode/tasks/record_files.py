"""Rows of a table file or of a Hugging Face data set, each with its position.

JSON (a list of objects, or one a line, whatever the file is called), CSV, TSV (each also ``.gz`` or ``.zip``) and
Parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from polymode.errors import DataNotFoundError, MissingExtraError, RecordError
from polymode.tasks import Split
from polymode.tasks.data_files import SUFFIXES, open_text
from polymode.tasks.json_files import read_json_objects
from polymode.tasks.record import Record

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
