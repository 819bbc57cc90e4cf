"""Location of a task's data files: the folder, and the file in it under any of its names, plain, gzip or zip.

A folder named by the user (``--data DIR``) comes first; without one, ``$POLYMODE_DATA/<task>`` is used. A file is
looked for under each of its names (the official one first), as it stands, with ``.gz`` and with ``.zip``.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from polymode.errors import DataNotFoundError, RecordError

DATA_VARIABLE = "POLYMODE_DATA"
"""Environment variable naming the folder that holds one folder per data set."""

SUFFIXES = ("", ".gz", ".zip")
"""Endings tried after each name."""


def cache_folder() -> Path:
    """Folder of files that can be made again: ``$POLYMODE_CACHE``, else ``~/.cache/polymode``."""
    return Path(os.environ.get("POLYMODE_CACHE") or Path.home() / ".cache" / "polymode")


def data_folder(task: str, data: str | Path | None = None) -> Path | None:
    """Folder of a task's files: ``data`` if given, else ``$POLYMODE_DATA/<task>`` when it exists, else None.

    Raises:
        DataNotFoundError: ``data`` is given and is not a folder.
    """
    if data is not None:
        folder = Path(data).expanduser()
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DataNotFoundError(f"data folder {str(folder)!r} {what}: name the folder that holds the {task} files")
        return folder
    root = os.environ.get(DATA_VARIABLE, "")
    folder = Path(root).expanduser() / task
    return folder if root and folder.is_dir() else None


def missing_folder(task: str, names: Sequence[str], hint: str = "") -> DataNotFoundError:
    """The error for a task without a data folder: what was looked for, where, and how to provide it."""
    root = os.environ.get(DATA_VARIABLE, "")
    no_root = f"no data folder was given and {DATA_VARIABLE} is not set"
    place = f"{DATA_VARIABLE}={root!r} holds no folder {task!r}" if root else no_root
    return DataNotFoundError(
        f"{task}: {place}; pass --data DIR or set {DATA_VARIABLE} to the folder above it; "
        f"the folder must hold {', '.join(names)} (each also as .gz or .zip)" + (f"; {hint}" if hint else "")
    )


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """First existing file of ``names`` in ``folder``, each tried plain, as ``.gz`` and as ``.zip``; None if none."""
    paths = (folder / (name + suffix) for name in names for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def need_file(folder: Path, names: Sequence[str]) -> Path:
    """As `find_file`, but a missing file is a DataNotFoundError that lists the names."""
    path = find_file(folder, names)
    if path is None:
        raise DataNotFoundError(
            f"{folder} holds none of {', '.join(names)} (each also as .gz or .zip): "
            f"put the file there, or name another folder with --data or {DATA_VARIABLE}"
        )
    return path


def hub_files(folder: Path, split: str, configs: Sequence[str]) -> list[Path]:
    """Parquet files of one split as the Hugging Face hub arranges them, in order; empty where there are none.

    Looked for in ``folder`` and its folders ``data`` and those of ``configs``, the first that holds some: as
    ``train-00000-of-00002.parquet``, ``train.parquet`` or ``train/0000.parquet``.

    Raises:
        DataNotFoundError: some parts of a split are missing.
    """
    for place in (*(folder / config for config in configs), folder, folder / "data"):
        parts = sorted(place.glob(f"{split}-[0-9]*-of-[0-9]*.parquet"))
        if parts:
            count = int(parts[0].stem.rpartition("-of-")[2])
            if len(parts) != count:
                raise DataNotFoundError(
                    f"{place} holds {len(parts)} of the {count} files {split}-*-of-{count:05d}.parquet: download the "
                    "others too"
                )
            return parts
        if (whole := place / f"{split}.parquet").is_file():
            return [whole]
        if parts := sorted((place / split).glob("[0-9]*.parquet")):
            return parts
    return []


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Read a plain, ``.gz`` or ``.zip`` file (with one member) as UTF-8 text.

    Raises:
        DataNotFoundError: the file is missing.
        RecordError: a broken archive, an archive with several members, or text that is not UTF-8.
    """
    try:
        with _open_bytes(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as handle:
            yield handle
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist: check the path") from None
    except UnicodeDecodeError as exc:
        raise RecordError(f"{path}: not UTF-8 text ({exc.reason}); convert the file to UTF-8") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise RecordError(f"{path}: broken archive ({exc}); download it again") from None


def read_json_file(path: Path) -> Any:
    """The content of a JSON file, plain or compressed; raises RecordError when it is not JSON."""
    with open_text(path) as handle:
        try:
            return json.load(handle)
        except json.JSONDecodeError as exc:
            raise RecordError(f"{path}, line {exc.lineno}: not valid JSON ({exc.msg})") from None


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))  # GzipFile reads bytes like any binary file
    if path.suffix.lower() != ".zip":
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:  # the member keeps the file open after the archive is closed
        members = [info for info in archive.infolist() if not info.is_dir() and not _is_by_product(info.filename)]
        if len(members) != 1:
            names = ", ".join(info.filename for info in members[:5]) or "nothing"
            raise RecordError(f"{path}: one file is expected inside, found {names}; unpack it into the folder")
        try:
            return archive.open(members[0])
        except RuntimeError as exc:  # a password, or a method that zipfile does not know
            raise RecordError(f"{path}: the archive cannot be opened ({exc}); unpack it into the folder") from None


def _is_by_product(name: str) -> bool:
    """Whether a member of an archive is what macOS and Windows add on their own."""
    *folders, own = name.replace("\\", "/").split("/")
    return "__MACOSX" in folders or own.startswith("._") or own in (".DS_Store", "Thumbs.db", "desktop.ini")
