"""The runs of a folder by experiment, each with what it was made with and its headline metrics (layer L6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.errors import PolymodeError, RecordError
from polymode.uncertainty import Estimate
from polymode.web.browsing.run_folders import RunFolders

MAX_LISTED = 2000
"""Runs in the list; a folder with more is better shown in parts."""
SETTINGS = ("task", "method", "seed", "k", "credit")
"""Fields of a config.json that lists show."""


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

    @property
    def k(self) -> int | str | None:
        """Answers of a set."""
        return self.metrics.k if self.metrics is not None and self.metrics.k else self.settings.get("k")

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


def list_experiments(folders: RunFolders) -> tuple[list[Experiment], bool]:
    """Experiments in the order of their names, and whether there are more runs than are listed."""
    names = list(islice((name for name in folders.names() if name.rpartition("/")[2] != DEEP), MAX_LISTED + 1))
    groups: dict[str, list[Entry]] = {}
    for name in names[:MAX_LISTED]:
        home = home_of(name)
        groups.setdefault(home, []).append(entry_of(folders, name, name[len(home) + 1 :] if home else name))
    experiments = [
        Experiment(home, home or folders.title, tuple(sorted(entries, key=_order)), folders.has(home, runs.REPORT))
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
    return Entry(name, label or name, _settings_of(folders, name), metrics, problem)


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
    parts = name.split("/")
    for n in range(len(parts), 0, -1):
        above = "/".join(parts[:n])
        if folders.has(above, runs.TRAIN_METRICS):
            return above
    return None


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


def _order(entry: Entry) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", entry.name)]


@lru_cache(maxsize=MAX_LISTED)
def _metrics(path: Path, _stamp: runs.Stamp, label: str) -> runs.Metrics:
    return runs.read_metrics(path, label)


@lru_cache(maxsize=MAX_LISTED)
def _settings(path: Path, _stamp: runs.Stamp, label: str) -> dict[str, str | int]:
    config = runs.read_configuration(path, label).config
    return {name: config[name] for name in SETTINGS if isinstance(config.get(name), (str, int))}
