"""Training runs: how far each is, and what it measured last (layer L6).

Everything is read from the files that training writes while it goes: config.json, a line of metrics.jsonl for each
step, and in the end the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from polymode import runs
from polymode.errors import PolymodeError
from polymode.report.arms import Cell, number
from polymode.report.figures_training import latest
from polymode.web.browsing.run_folders import MAX_LISTED, RunFolders

State = Literal["training", "stopped", "finished", "damaged"]
LEAST_PATIENCE = 120.0
"""Seconds without a step after which a training may be called stopped; ten of its usual steps, where that is longer."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training run as its files say."""

    name: str
    state: State
    """``stopped``: not finished, and without a new line for long. It may also be in a very long step."""
    method: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    step: int = 0
    """Last step."""
    max_steps: int | None = None
    """Steps that it will take; None where config.json does not say."""
    seconds_per_step: float = math.nan
    """Mean so far; NaN where nothing says so."""
    seconds_since: float = math.nan
    """Since the last line."""
    figures: Sequence[tuple[str, Cell]] = ()
    """What it measured last (`polymode.report.figures_training.latest`)."""
    problem: str = ""
    """Why it is damaged; empty when it is not."""

    @property
    def seconds_left(self) -> float | None:
        """Until the last step at the mean speed so far; None where nothing says so."""
        if self.state != "training" or self.max_steps is None or math.isnan(self.seconds_per_step):
            return None
        return max(self.max_steps - self.step, 0) * self.seconds_per_step

    def figure(self, name: str) -> Cell | None:
        """A figure by its name in metrics.jsonl."""
        return dict(self.figures).get(name)


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
    rows, figures = _read(path, runs.stamp_of(path))
    options = runs.read_configuration(config, f"{name}/{runs.CONFIG}").config
    max_steps = options.get("max_steps")
    max_steps = max_steps if isinstance(max_steps, int) and max_steps > 0 else None
    last_step, seconds = (number(rows[-1].get(key)) if rows else math.nan for key in ("step", "seconds"))
    step = int(last_step) if last_step >= 0 else 0
    seconds_per_step = seconds / step if step and seconds > 0 else math.nan
    since = max(time.time() - path.stat().st_mtime, 0.0)
    is_done = runs.holds_model(folders.folder(name) / "model") or (max_steps is not None and step >= max_steps)
    is_waited_for = since < LEAST_PATIENCE or since < 10 * seconds_per_step
    return Training(
        name,
        state="finished" if is_done else "training" if is_waited_for else "stopped",
        method=str(options.get("method") or "training"),
        rows=rows,
        step=step,
        max_steps=max_steps,
        seconds_per_step=seconds_per_step,
        seconds_since=since,
        figures=figures,
    )


def list_trainings(folders: RunFolders) -> list[Training]:
    """The training runs to be listed by themselves: those that are not known to be over, or have no runs below.

    They come in the order of `State`, those in training first.
    """
    trainings: list[Training] = []
    for name in islice(folders.trainings(), MAX_LISTED):
        try:
            training = training_of(folders, name)
        except PolymodeError as exc:
            trainings.append(Training(name, "damaged", problem=str(exc)))
        except OSError as exc:
            trainings.append(Training(name, "damaged", problem=f"{name} cannot be read ({exc.strerror or exc})"))
        else:
            is_open = training.state == "training" or (training.state == "stopped" and training.max_steps is not None)
            if is_open or next(folders.names(name), None) is None:
                trainings.append(training)
    return sorted(trainings, key=lambda one: get_args(State).index(one.state))


@lru_cache(maxsize=64)
def _read(path: Path, _stamp: runs.Stamp) -> tuple[Sequence[Mapping[str, Any]], Sequence[tuple[str, Cell]]]:
    """Rows and latest figures; a line that is just being written is left out."""
    rows = runs.read_steps(path, may_be_cut=True)
    return rows, latest(rows)
