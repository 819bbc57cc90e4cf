"""From evaluation folders to the columns of a comparison: whose completions they are, and how they were asked for.

An evaluation folder holds judged.jsonl and metrics.json. Its place says the rest::

    ARM/seed-0/VIEW/    in the folder of an experiment; seeds of one arm and view are one column
    RUN/VIEW/           RUN was trained by polymode: it holds config.json and metrics.jsonl
    FOLDER/             anything else: completions of any model
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError
from polymode.report.arms import Arm
from polymode.report.words import natural_order
from polymode.rewards import METHODS

Confidence = Literal["stated", "votes", "answer probability", "P(True)", "aggregation"]
"""Stated in the text; share of votes in a pooled set; measured on the model (`polymode.generate.confidences`)."""


def measured_view(source: str) -> str:
    """Name of the view of samples with measured confidences: ``P(True)`` is samples-p-true."""
    return f"samples-{source.lower().replace(' ', '-').replace('(', '-').rstrip(')')}"


EQUAL_ANSWERS = "-equal-answers"
"""Ends the name of a single-answer arm that was trained until as many answers were graded as of a multi-answer one."""
DEEP = "deep"
"""Folder, inside a view's, of the same for fewer questions with 30 answers each."""
DEEP_METRICS = (
    *("unique_answers@30", "modal_share@30", "kl_uniform@30"),
    *("overlap_3gram", "overlap_4gram", "overlap_jaccard", "overlap_rouge_l"),
)
"""Metrics that a view takes from its deep folder."""
_DEEP_CURVES = ("unique_references", "unique_answers_histogram")
_NO_RUNS = {DEEP, "model", "checkpoints", "demonstrations"}
_CONFIDENCES: Mapping[str, Confidence] = {measured_view(source): source for source in get_args(Confidence)}
_VIEWS = ("samples", "set", "prompted", *_CONFIDENCES)


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation folder."""

    folder: Path
    view: Mapping[str, Any]
    """``view`` of its metrics.json."""
    home: Path
    """Folder that arms with the same names share, usually an experiment's."""
    name: str
    """ARM/VIEW, or the folder's own name."""
    method: str
    """Method of the trained model; the arm's name where polymode did not train it."""
    confidence: Confidence
    train: Path | None = None
    seed: int | None = None
    credit: str = "sequence"
    """How scores were credited to tokens in training."""
    is_longer: bool = False
    """Whether it was trained for as many graded answers as a multi-answer arm, not as many completions."""
    is_arm: bool = False
    """Whether it stands in an experiment, so that method and view say everything about it."""

    @property
    def pool(self) -> int:
        """Completions that make one set."""
        return runs.Metrics(self.view).pool

    @property
    def is_joined(self) -> bool:
        """Whether its sets are single answers side by side."""
        return bool(self.view.get("pooled"))

    @property
    def label(self) -> str:
        """How tables name it."""
        if self.is_joined:
            label = f"{self._trained if self.is_arm else self.name}, {self.pool} samples"
            return label if self.confidence == "stated" else f"{label}, {self.confidence}"
        ranked = f"{self.pool} pooled completions"
        if not self.is_arm:
            return f"{self.name}, {ranked}" if self.pool > 1 else self.name
        if self.method.startswith("multi"):
            return f"{self.kind}, {ranked if self.pool > 1 else 'one completion'} of {self.view.get('k')}"
        asked = f"{self._trained}, asked for {self.view.get('k')}"
        return f"{asked}, {ranked}" if self.pool > 1 else asked

    @property
    def kind(self) -> str:
        """What figures tell arms apart by: the method, and how it is asked where that is not its own way."""
        is_own_way = self.is_joined or self.method.startswith("multi") or not self.is_arm
        method = self._trained if self.credit == "sequence" else f"{self.method} by {self.credit}"
        return method if is_own_way else f"{method} asked for {self.view.get('k')}"

    @property
    def _trained(self) -> str:
        return f"{self.method} at equal graded answers" if self.is_longer else self.method


@dataclass(frozen=True, slots=True)
class Column:
    """Runs that are one column: the seeds of one arm and view."""

    name: str
    """Short name, as the user may write it."""
    arm: Arm
    """What the report shows of it."""
    runs: tuple[Run, ...]


def run_at(folder: Path) -> Run:
    """The evaluation folder ``folder``; raises RunIncompleteError without its metrics.json."""
    view = runs.read_metrics(folder).view
    place = folder.resolve()
    above = place.parent
    train = folder.parent if runs.is_training(above) else None
    config = {} if train is None else runs.read_configuration(train).config
    numbered = re.fullmatch(r"seed-(\d+)", above.name)
    arm = above.parent.name if numbered else above.name if train is not None else place.name
    confidence = _CONFIDENCES.get(place.name, "stated")
    return Run(
        folder=folder,
        view=view,
        home=above.parent.parent if numbered else above.parent if train is not None else above,
        name=f"{arm}/{place.name}" if numbered or train is not None else arm,
        method=config.get("method") or arm,
        confidence="votes" if view.get("confidence_from") == "votes" else confidence,
        train=train,
        seed=int(numbered[1]) if numbered else config.get("seed"),
        credit=config.get("credit") or "sequence",
        is_longer=arm.endswith(EQUAL_ANSWERS),
        is_arm=numbered is not None,
    )


def with_deep(stored: runs.Metrics, deep: runs.Metrics) -> runs.Metrics:
    """The metrics of a view with those that need 30 answers a question, from its deep folder."""
    metrics = {name: deep.metrics[name] for name in DEEP_METRICS if name in deep.metrics}
    curves = {name: deep.curves[name] for name in _DEEP_CURVES if name in deep.curves}
    return replace(stored, metrics={**stored.metrics, **metrics}, curves={**stored.curves, **curves})


def deep_folder(run: Run) -> Path | None:
    """Where fewer questions of ``run`` (or of the samples that it measures) have 30 answers each."""
    places = [run.folder / DEEP, run.folder.parent / "samples" / DEEP]
    return next((p for p in places[: 1 if run.confidence == "stated" else 2] if _is_evaluated(p)), None)


def find_runs(path: Path) -> list[Run]:
    """Every evaluation folder at or below ``path``, in the order of a comparison.

    Raises:
        DataNotFoundError: no such folder.
        ConfigError: no evaluation in it.
    """
    if not path.exists():
        raise DataNotFoundError(f"run {path} does not exist: check the path")
    folders = [folder for folder in _folders(path) if _is_evaluated(folder)]
    if not folders:
        raise ConfigError(f"run {path} holds no evaluation ({_what_is_missing(path)})")
    return sorted(map(run_at, folders), key=_order)


def unfinished(path: Path) -> list[Path]:
    """Folders at or below ``path`` with completions that were not evaluated."""
    return [f for f in _folders(path) if _holds(f, runs.COMPLETIONS) and not _holds(f, runs.METRICS)]


def columns_of(members: Sequence[Run]) -> list[Column]:
    """The runs as columns, in order of first appearance; names and labels are told apart where they are equal."""
    groups: dict[tuple[Path, str], dict[Path, Run]] = {}
    for run in members:
        groups.setdefault((run.home, run.name), {})[run.folder.resolve()] = run
    names = Counter(name for _, name in groups)
    labels = Counter(next(iter(seeds.values())).label for seeds in groups.values())
    stated = {(run.home, run.method) for run in members if run.is_joined and run.confidence == "stated"}
    columns = []
    for (home, name), seeds in groups.items():
        same = tuple(seeds.values())
        first = same[0]
        short = name if names[name] == 1 else f"{home.name}/{name}"
        label = first.label if labels[first.label] == 1 else f"{first.label} ({short})"
        columns.append(
            Column(
                name=short,
                arm=Arm(
                    label=label,
                    method=first.kind,
                    seeds=tuple(run.folder for run in same),
                    train=tuple(run.train for run in same if run.train is not None),
                    k=first.view.get("k"),
                    is_remeasured=first.confidence != "stated" and (home, first.method) in stated,
                ),
                runs=same,
            )
        )
    # Columns whose names are still equal get their folders as names.
    counts = Counter(column.name for column in columns)
    return [
        column if counts[column.name] == 1 else replace(column, name=str(column.runs[0].folder)) for column in columns
    ]


def _order(run: Run) -> tuple[Any, ...]:
    arm, _, view = run.name.partition("/")
    method = list(METHODS).index(run.method) if run.method in METHODS else len(METHODS)
    numbers = [number for number, _ in natural_order(arm)]
    place = _VIEWS.index(view) if view in _VIEWS else len(_VIEWS)
    return (not run.is_arm, method if run.is_arm else 0, numbers if run.is_arm else [], arm, place, view, run.seed or 0)


def _is_evaluated(folder: Path) -> bool:
    return _holds(folder, runs.JUDGED) and _holds(folder, runs.METRICS)


def _folders(path: Path) -> Iterator[Path]:
    for folder, below, _ in os.walk(path):
        below[:] = sorted(name for name in below if name not in _NO_RUNS and not name.startswith("."))
        yield Path(folder)


def _holds(folder: Path, name: str) -> bool:
    return (folder / name).is_file()


def _what_is_missing(path: Path) -> str:
    """Why a folder cannot be compared, and what to do."""
    if path.is_file():
        return f"it is a file: name the folder that holds {runs.JUDGED} and {runs.METRICS}"
    waiting = unfinished(path)
    if waiting:
        return f"{waiting[0] / runs.COMPLETIONS} was not evaluated: run polymode evaluate {waiting[0]} first"
    if any(_holds(folder, runs.METRICS) for folder in _folders(path)):
        return f"{runs.METRICS} stands without its {runs.JUDGED}: run polymode evaluate again"
    return "run polymode generate, or write completions.jsonl; then polymode evaluate"
