"""Training runs: how far each is, what it measured last, and its curves as drawings (layer L6).

Everything is read from the files that training writes while it goes: config.json, a line of metrics.jsonl for each
step, and in the end the model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polymode import runs
from polymode.errors import PolymodeError
from polymode.report import charts
from polymode.report.arms import Cell, number
from polymode.report.figures_training import figures_of_training, latest
from polymode.web.browsing.run_folders import MAX_LISTED, RunFolders

State = Literal["training", "finished", "stopped"]
LEAST_PATIENCE = 120.0
"""Seconds without a step after which a training may be called stopped; ten of its usual steps, where that is longer."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training run as its files say."""

    name: str
    method: str
    state: State
    """``stopped``: not finished, and without a new line for long. It may also be in a very long step."""
    rows: Sequence[Mapping[str, Any]]
    step: int
    """Last step."""
    max_steps: int | None
    """Steps that it will take; None where config.json does not say."""
    seconds_since: float
    """Since the last line."""
    figures: Sequence[tuple[str, Cell]]
    """What it measured last (`polymode.report.figures_training.latest`)."""

    @property
    def seconds_left(self) -> float | None:
        """Until the last step at the mean speed so far; None where nothing says so."""
        seconds = number(self.rows[-1].get("seconds")) if self.rows else 0.0
        if self.state != "training" or self.max_steps is None or not (self.step > 0 and seconds > 0):
            return None
        return max(self.max_steps - self.step, 0) * seconds / self.step

    def figure(self, name: str) -> Cell | None:
        """A figure by its name in metrics.jsonl."""
        return dict(self.figures).get(name)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of a figure, as a file of its own."""

    heading: str
    svg: str
    """For a light and for a dark page."""
    alt: str
    """What it shows, in words."""


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A titled group of drawings."""

    title: str
    caption: str
    drawings: tuple[Drawing, ...]


def is_training(folders: RunFolders, name: str) -> bool:
    """Whether training wrote this folder."""
    return folders.has(name, runs.CONFIG) and folders.has(name, runs.TRAIN_METRICS)


def training_of(folders: RunFolders, name: str) -> Training:
    """A training run.

    Raises:
        DataNotFoundError: there is no such folder.
        RunIncompleteError, RecordError: a file is missing or damaged.
        OSError: a file cannot be read.
    """
    path, config = folders.needed(name, runs.TRAIN_METRICS), folders.needed(name, runs.CONFIG)
    stamp = runs.stamp_of(path)
    rows, figures = _read(path, stamp)
    options = runs.read_configuration(config, f"{name}/{runs.CONFIG}").config
    max_steps = options.get("max_steps")
    max_steps = max_steps if isinstance(max_steps, int) and max_steps > 0 else None
    step = int(number(rows[-1].get("step"))) if rows and number(rows[-1].get("step")) >= 0 else 0
    since = max(time.time() - path.stat().st_mtime, 0.0)
    seconds = number(rows[-1].get("seconds")) if rows else 0.0
    patience = max(LEAST_PATIENCE, 10 * seconds / step if step and seconds > 0 else 0.0)
    model = folders.folder(name) / "model"
    is_done = runs.holds_model(model) or (max_steps is not None and step >= max_steps)
    state: State = "finished" if is_done else "training" if since < patience else "stopped"
    return Training(name, str(options.get("method") or "training"), state, rows, step, max_steps, since, figures)


def list_trainings(folders: RunFolders) -> list[Training | tuple[str, str]]:
    """The training runs to be listed by themselves: those that are not known to be over, or have no runs below.

    Those in training come first; one that cannot be read is its name and why, and comes last.
    """
    trainings: list[Training | tuple[str, str]] = []
    for name in islice(folders.trainings(), MAX_LISTED):
        try:
            training = training_of(folders, name)
        except PolymodeError as exc:
            trainings.append((name, str(exc)))
        except OSError as exc:
            trainings.append((name, f"{name} cannot be read ({exc.strerror or exc})"))
        else:
            is_open = training.state == "training" or (training.state == "stopped" and training.max_steps is not None)
            if is_open or next(folders.names(name), None) is None:
                trainings.append(training)
    order = ("training", "stopped", "finished")
    return sorted(trainings, key=lambda one: order.index(one.state) if isinstance(one, Training) else len(order))


def draw(training: Training) -> tuple[DrawnFigure, ...]:
    """The curves of a training."""
    return tuple(
        DrawnFigure(
            figure.title,
            figure.caption,
            tuple(
                Drawing(panel.heading, charts.svg_file(panel.svg), unescape(label[1] if label else ""))
                for panel in figure.panels
                for label in [re.search(r'aria-label="([^"]*)"', panel.svg)]
            ),
        )
        for figure in figures_of_training(training.rows, training.method)
    )


@lru_cache(maxsize=64)
def _read(path: Path, _stamp: runs.Stamp) -> tuple[Sequence[Mapping[str, Any]], Sequence[tuple[str, Cell]]]:
    """Rows and latest figures; a line that is just being written is left out."""
    rows = runs.read_steps(path, may_be_cut=True)
    return rows, latest(rows)
