"""Where DDXPlus comes from: a folder of the official files, or a copy on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from polymode.errors import DataNotFoundError, MissingExtraError
from polymode.tasks import Split
from polymode.tasks.data_files import data_folder, find_file, missing_folder, need_file
from polymode.tasks.record import Record
from polymode.tasks.record_files import load_hub, read_cells, unreachable

HUB_NAME = "aai530-group6/ddxplus"
"""A public copy of the English release (not kept by its authors; the originals are on figshare, 22687585)."""

EVIDENCES, CONDITIONS = "release_evidences.json", "release_conditions.json"

FILES: dict[Split, tuple[str, ...]] = {
    "train": ("release_train_patients", "release_train_patients.csv", "train.csv"),
    "validation": ("release_validate_patients", "release_validate_patients.csv", "validate.csv", "validation.csv"),
    "test": ("release_test_patients", "release_test_patients.csv", "test.csv"),
}
"""Names of each split's patient file; the official one first."""


class Folder:
    """The official files in one folder, each plain, ``.gz`` or ``.zip``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def dictionary(self, name: str) -> Path:
        """Path of one of the two JSON dictionaries; raises DataNotFoundError when it is missing."""
        return need_file(self.path, (name,))

    def records(self, split: Split) -> Iterator[Record] | None:
        """Rows of a split's own file; None when there is no such file."""
        path = find_file(self.path, FILES[split])
        return None if path is None else read_cells(path)

    def missing(self, split: Split) -> DataNotFoundError:
        """The error for a split without a file."""
        return DataNotFoundError(
            f"{self.path} holds no {split} patients: none of {', '.join(FILES[split])} (each also as .gz or .zip)"
        )


class Hub:
    """A data set of the Hugging Face hub, or a local folder that ``datasets.load_dataset`` reads, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def dictionary(self, name: str) -> Path:
        """Path of one of the two JSON dictionaries, downloaded when needed.

        Raises:
            MissingExtraError: ``datasets`` is not installed.
            DataNotFoundError: it cannot be downloaded.
        """
        try:
            from datasets import DownloadManager
        except ImportError:
            raise MissingExtraError("datasets", "train", "Loading DDXPlus by name") from None
        local = Path(self.name) / name
        address = str(local) if local.exists() else f"hf://datasets/{self.name}/{name}"
        try:
            copy: Any = DownloadManager().download(address)
        except Exception as exc:  # every way a download can fail: name, access, network, disk
            raise unreachable(f"{name} of data set {self.name!r}", exc) from exc
        return Path(copy)

    @cached_property
    def _splits(self) -> Mapping[Split, Iterable[Record]]:
        return load_hub(self.name, None)

    def records(self, split: Split) -> Iterable[Record] | None:
        """Rows of a split; None when the data set has no such split."""
        return self._splits.get(split)

    def missing(self, split: Split) -> DataNotFoundError:
        """The error for a split that the data set lacks."""
        return DataNotFoundError(f"data set {self.name!r} has no {split} split")


def find_source(data: str | Path | None, hub: str | bool) -> Folder | Hub:
    """The folder ``data``, else ``$POLYMODE_DATA/ddxplus``, else the hub when allowed.

    Raises:
        DataNotFoundError: none of them.
        MissingExtraError: the hub is needed and ``datasets`` is not installed.
    """
    folder = data_folder("ddxplus", data)
    if folder is not None:
        return Folder(folder)
    if hub:
        return Hub(hub if isinstance(hub, str) else HUB_NAME)
    files = (EVIDENCES, CONDITIONS, f"{FILES['train'][0]} or train.csv", f"{FILES['test'][0]} or test.csv")
    raise missing_folder("ddxplus", files, hint=f"or load the public copy {HUB_NAME!r} with hub=True")
