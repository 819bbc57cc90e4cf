"""Run folders: their names, and by experiment what each was made with and its headline metrics (layer L6).

No name leads out of the one folder that is shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.errors import DataNotFoundError, PolymodeError, RecordError
from polymode.report.words import natural_order
from polymode.uncertainty import Estimate

RUN_FILES = (runs.METRICS, runs.JUDGED, runs.COMPLETIONS)
"""A folder with one of these is a run."""
_WRITES = {runs.CONFIG: "polymode train", runs.TRAIN_METRICS: "polymode train", runs.COMPLETIONS: "polymode generate"}
"""What writes a file that a run may lack."""
NO_RUNS = frozenset({"model", "checkpoints"})
"""Folders of a training run that hold no runs."""
MAX_NAME = 1000
"""Longest name."""
MAX_LISTED = 2000
"""Runs in the list; a folder with more is better shown in parts."""
SETTINGS = ("task", "method", "seed", "k", "credit")
"""Fields of a config.json that lists show."""


class RunFolders:
    """The folder that is shown, and what may be read of it.

    A run's name is its path below the folder, with slashes. When the folder is a run itself, it goes by its own name.

    Raises:
        DataNotFoundError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataNotFoundError(f"runs {root} is not a folder: check --runs")
        self._root = root.resolve()
        is_run = bool(self._root.name) and any(
            (self._root / name).is_file() for name in (*RUN_FILES, runs.TRAIN_METRICS)
        )
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

    def needed(self, name: str, file: str) -> Path:
        """`file`, where a run must have it; raises DataNotFoundError."""
        path = self.file(name, file)
        if path is None:
            raise DataNotFoundError(f"{name}/{file} is missing: run {_WRITES.get(file, 'polymode evaluate')} first")
        return path

    def names(self, below: str | None = None) -> Iterator[str]:
        """Names of all runs, or of those below one, in the order of their names; links are not followed."""
        return (name for name, files in self._walk(below) if any(file in files for file in RUN_FILES))

    def trainings(self) -> Iterator[str]:
        """Names of all folders that training wrote, in the order of their names; links are not followed."""
        needed = {runs.CONFIG, runs.TRAIN_METRICS}
        return (name for name, files in self._walk(None) if needed <= set(files))

    def _walk(self, below: str | None) -> Iterator[tuple[str, list[str]]]:
        """Names of the folders at the top or below one, each with the names of its files."""
        top = self._root if below is None else self.folder(below)
        for folder, inside, files in os.walk(top):
            inside[:] = sorted(name for name in inside if name not in NO_RUNS and is_name(name))
            name = Path(folder).relative_to(self._base).as_posix()
            is_below = below is None or Path(folder) != top
            if files and is_below and is_name(name) and self._inside(Path(folder)) is not None:
                yield name, files

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of the list."""

    name: str
    label: str
    """Its name without the experiment's."""
    settings: Mapping[str, str | int]
    """Of the training, or of what made the completions: task, method, seed, k, credit."""
    metrics: runs.Metrics | None
    """None when the run was not evaluated, or they cannot be read."""
    problem: str
    """Why there are no metrics; empty when there are."""
    note: runs.Note = field(default_factory=runs.Note)
    """What somebody wrote about it; empty too where the file is damaged, which the run's own page says."""

    @property
    def k(self) -> int | str | None:
        """Answers of a set."""
        return (self.metrics and self.metrics.k) or self.settings.get("k")

    def cell(self, name: str) -> Estimate | None:
        """A metric by its name."""
        return None if self.metrics is None else self.metrics.metrics.get(name)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Runs that belong together."""

    name: str
    """Of the folder that holds them; empty for the one that is shown."""
    title: str
    entries: tuple[Entry, ...]
    has_report: bool

    def having(self, metrics: Sequence[str]) -> list[str]:
        """Those of the metrics that at least one of its runs has."""
        return [name for name in metrics if any(entry.cell(name) is not None for entry in self.entries)]


def list_experiments(folders: RunFolders) -> tuple[list[Experiment], bool]:
    """Experiments in the order of their names, and whether there are more runs than are listed."""
    names = list(islice((name for name in folders.names() if name.rpartition("/")[2] != DEEP), MAX_LISTED + 1))
    groups: dict[str, list[Entry]] = {}
    for name in names[:MAX_LISTED]:
        home = home_of(name)
        groups.setdefault(home, []).append(entry_of(folders, name, name[len(home) + 1 :] if home else name))
    experiments = [
        Experiment(
            home,
            home or folders.title,
            tuple(sorted(entries, key=lambda one: natural_order(one.name))),
            folders.has(home, runs.REPORT),
        )
        for home, entries in sorted(groups.items())
    ]
    return experiments, len(names) > MAX_LISTED


def entry_of(folders: RunFolders, name: str, label: str = "") -> Entry:
    """What is known of a run."""
    metrics, problem = None, f"not evaluated: there is no {runs.METRICS}"
    path = folders.file(name, runs.METRICS)
    if path is not None:
        try:
            metrics, problem = _metrics(path, runs.stamp_of(path), f"{name}/{runs.METRICS}"), ""
        except RecordError as exc:
            problem = str(exc)
        except OSError as exc:
            problem = f"{name}/{runs.METRICS} cannot be read ({exc.strerror or exc})"
    return Entry(name, label or name, _settings_of(folders, name), metrics, problem, _note_of(folders, name))


def is_run(folders: RunFolders, name: str) -> bool:
    """Whether a folder holds completions or what was made of them."""
    return any(folders.has(name, file) for file in RUN_FILES)


def completions_of(folders: RunFolders, name: str) -> Path | None:
    """The completions that a run was judged from; None when they are not there, or not below the shown folder."""
    path = folders.file(name, runs.METRICS)
    source = None
    if path is not None:
        with suppress(PolymodeError, OSError):  # a damaged metrics.json is reported where metrics are shown
            source = _metrics(path, runs.stamp_of(path), f"{name}/{runs.METRICS}").completions
    return folders.file(name, runs.COMPLETIONS if source is None else source.path)


def home_of(name: str) -> str:
    """Name of the experiment that a run belongs to: the folder of ARM/seed-0/VIEW, else the one above the run."""
    parts = name.removesuffix(f"/{DEEP}").split("/")
    seeds = [i for i, part in enumerate(parts) if re.fullmatch(r"seed-\d+", part)]
    return "/".join(parts[: seeds[-1] - 1] if seeds and seeds[-1] > 0 else parts[:-1])


def train_of(folders: RunFolders, name: str) -> str | None:
    """Name of the training run that a run belongs to: the nearest folder above it that training wrote."""
    while name and not folders.has(name, runs.TRAIN_METRICS):
        name = name.rpartition("/")[0]
    return name or None


def _settings_of(folders: RunFolders, name: str) -> dict[str, str | int]:
    settings: dict[str, str | int] = {}
    for place in (name, train_of(folders, name)):
        path = None if place is None else folders.file(place, runs.CONFIG)
        if path is not None:
            try:
                settings |= _settings(path, runs.stamp_of(path), f"{place}/{runs.CONFIG}")
            except (RecordError, OSError):  # the list shows less; nothing else depends on it
                continue
    return settings


def _note_of(folders: RunFolders, name: str) -> runs.Note:
    path = folders.file(name, runs.NOTE)
    with suppress(PolymodeError, OSError):
        return runs.Note() if path is None else _note(path, runs.stamp_of(path))
    return runs.Note()


@lru_cache(maxsize=MAX_LISTED)
def _metrics(path: Path, _stamp: runs.Stamp, label: str) -> runs.Metrics:
    return runs.read_metrics(path, label)


@lru_cache(maxsize=MAX_LISTED)
def _settings(path: Path, _stamp: runs.Stamp, label: str) -> dict[str, str | int]:
    config = runs.read_configuration(path, label).config
    return {name: config[name] for name in SETTINGS if isinstance(config.get(name), (str, int))}


@lru_cache(maxsize=MAX_LISTED)
def _note(path: Path, _stamp: runs.Stamp) -> runs.Note:
    return runs.read_note(path)
