"""Names of runs and their folders; no name leads out of the one folder that is shown (layer L6)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from polymode import runs
from polymode.errors import DataNotFoundError

RUN_FILES = (runs.METRICS, runs.JUDGED, runs.COMPLETIONS)
"""A folder with one of these is a run."""
NO_RUNS = frozenset({"model", "checkpoints"})
"""Folders of a training run that hold no runs."""
MAX_NAME = 1000
"""Longest name."""


class RunFolders:
    """The folder that is shown, and what may be read of it.

    A run's name is its path below the folder, with slashes. When the folder is a run itself, it goes by its own name.

    Raises:
        DataNotFoundError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataNotFoundError(f"runs {root} is no folder: check --runs")
        self._root = root.resolve()
        is_run = bool(self._root.name) and any((self._root / name).is_file() for name in RUN_FILES)
        self._base = self._root.parent if is_run else self._root

    @property
    def title(self) -> str:
        """Name of the folder itself."""
        return self._root.name or "runs"

    def folder(self, name: str) -> Path:
        """The folder of a name, links followed; the empty name is the folder that is shown.

        Raises:
            DataNotFoundError: no such folder, or it is not below the one that is shown.
        """
        is_allowed = not name or is_name(name)
        path = self._inside(self._base.joinpath(*name.split("/"))) if is_allowed else None
        if path is None or not path.is_dir():
            raise DataNotFoundError("there is no such run")
        return path

    def file(self, name: str, file: str) -> Path | None:
        """A file of a run, links followed; None when there is none, or it is not below the folder that is shown."""
        path = self._inside(self.folder(name) / file)
        return path if path is not None and path.is_file() else None

    def has(self, name: str, file: str) -> bool:
        """Whether a folder has this file; also for names that do not exist."""
        try:
            return self.file(name, file) is not None
        except DataNotFoundError:
            return False

    def names(self, below: str | None = None) -> Iterator[str]:
        """Names of all runs, or of those below one, in the order of their names; links are not followed."""
        top = self._root if below is None else self.folder(below)
        for folder, inside, files in os.walk(top):
            inside[:] = sorted(name for name in inside if name not in NO_RUNS and is_name(name))
            if any(name in files for name in RUN_FILES) and (below is None or Path(folder) != top):
                name = Path(folder).relative_to(self._base).as_posix()
                if is_name(name) and self._inside(Path(folder)) is not None:
                    yield name

    def _inside(self, path: Path) -> Path | None:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # not there, a loop of links, a name that no file can have
            return None
        return real if real.is_relative_to(self._root) else None


def is_name(name: str) -> bool:
    """Whether a text may be a run's name: parts of printable characters with slashes between, none of them hidden."""
    parts = name.split("/")
    return (
        len(name) <= MAX_NAME
        and name.isprintable()
        and "\\" not in name
        and all(part and not part.startswith(".") for part in parts)
    )
