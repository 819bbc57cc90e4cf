"""Where DDXPlus comes from: a folder of the official files, or a copy on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from polymode.errors import DataNotFoundError, MissingExtraError
from polymode.tasks import Split
from polymode.tasks.data_files import data_folder, find_file, missing_folder, need_file
from polymode.tasks.ddxplus_english import Evidence
from polymode.tasks.ddxplus_rows import Row, read_rows, rows_from

HUB_NAME = "aai530-group6/ddxplus"
"""A public copy of the English release (not kept by its authors; the originals are on figshare, 22687585)."""

EVIDENCES, CONDITIONS = "release_evidences.json", "release_conditions.json"

FILES: dict[Split, tuple[str, ...]] = {
    "train": ("release_train_patients", "release_train_patients.csv", "train.csv"),
    "validation": ("release_validate_patients", "release_validate_patients.csv", "validate.csv", "validation.csv"),
    "test": ("release_test_patients", "release_test_patients.csv", "test.csv"),
}
"""Names of each split's patient file; the official one first."""

_HUB_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validate", "validation"),
    "test": ("test",),
}


class Folder:
    """The official files in one folder, each plain, ``.gz`` or ``.zip``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def dictionary(self, name: str) -> Path:
        """Path of one of the two JSON dictionaries; raises DataNotFoundError when it is missing."""
        return need_file(self.path, (name,))

    def rows(
        self, split: Split, evidences: Mapping[str, Evidence], names: Mapping[str, str], limit: int | None
    ) -> list[Row] | None:
        """Patients of a split's own file; None when there is no such file."""
        path = find_file(self.path, FILES[split])
        return None if path is None else read_rows(path, evidences, names, limit=limit)

    def missing(self, split: Split) -> DataNotFoundError:
        """The error for a split without a file."""
        return DataNotFoundError(
            f"{self.path} holds no {split} patients: none of {', '.join(FILES[split])} (each also as .gz or .zip)"
        )


class Hub:
    """A data set of the Hugging Face hub, or a local folder that ``datasets.load_dataset`` reads, by name."""

    def __init__(self, name: str) -> None:
        try:
            import datasets  # noqa: F401  # here, so that the lack of it is said before anything is downloaded
        except ImportError:
            raise MissingExtraError("datasets", "train", "Loading DDXPlus by name") from None
        self.name = name
        self._loaded: Any = None

    def dictionary(self, name: str) -> Path:
        """Path of one of the two JSON dictionaries, downloaded when needed."""
        from datasets import DownloadManager

        local = Path(self.name) / name
        address = str(local) if local.exists() else f"hf://datasets/{self.name}/{name}"
        try:
            found: Any = DownloadManager().download(address)
            return Path(found)
        except Exception as exc:  # every way a download can fail: see _load
            raise self._unreachable(name, exc) from exc

    def rows(
        self, split: Split, evidences: Mapping[str, Evidence], names: Mapping[str, str], limit: int | None
    ) -> list[Row] | None:
        """Patients of a split; None when the data set has no such split."""
        loaded = self._load()
        for name in _HUB_SPLITS[split]:
            if name in loaded:
                records: Iterator[Mapping[str, Any]] = islice(iter(loaded[name]), limit)
                return list(rows_from(records, evidences, names, source=f"{self.name} ({name})"))
        return None

    def _load(self) -> Any:
        """All splits by name, loaded once."""
        from datasets import load_dataset

        if self._loaded is None:
            try:
                self._loaded = load_dataset(self.name)
            except Exception as exc:  # every way a download can fail: name, access, network, disk
                raise self._unreachable("the patients", exc) from exc
        return self._loaded

    def missing(self, split: Split) -> DataNotFoundError:
        """The error for a split that the data set lacks."""
        return DataNotFoundError(
            f"data set {self.name!r} has no {split} split: looked for {', '.join(_HUB_SPLITS[split])}"
        )

    def _unreachable(self, what: str, exc: Exception) -> DataNotFoundError:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        return DataNotFoundError(
            f"cannot load {what} of data set {self.name!r}: {reason}; check the name, the network and your access, or "
            "download the official files and pass --data DIR"
        )


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
