"""Which runs a list shows, in which order and with which columns (layer L6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from polymode.report.words import UP, group_metrics, row_of, words_of
from polymode.web.browsing.run_folders import Entry, Experiment
from polymode.web.browsing.trainings import Training

HEADLINE = ("coverage", "pass@1", "brier", "ece", "tokens_per_set")
"""Columns where none are chosen."""


@dataclass(frozen=True, slots=True)
class RunTable:
    """What is shown of the runs."""

    experiments: tuple[Experiment, ...]
    trainings: tuple[Training, ...]
    columns: tuple[str, ...]
    """Metrics, in the order of the report."""
    choices: tuple[tuple[str, list[str]], ...]
    """All metrics that any of the runs has, under their titles."""
    n_total: int
    """Runs before the search."""

    @property
    def n_runs(self) -> int:
        """Runs that are shown."""
        return sum(len(one.entries) for one in self.experiments)


def arrange(
    experiments: Sequence[Experiment],
    trainings: Sequence[Training],
    *,
    find: str = "",
    sort: str = "",
    columns: Sequence[str] = (),
) -> RunTable:
    """Search, sort and choose columns.

    Args:
        experiments: all runs.
        trainings: those that are listed by themselves.
        find: words that name, settings or note of a run contain, whatever their case.
        sort: a metric, lowest first; after a minus sign, highest first. Empty for the order of names. Runs stay in
            their experiments, and those without the metric come last.
        columns: metrics; those that no run has are left out.
    """
    names = {name for one in experiments for entry in one.entries if entry.metrics for name in entry.metrics.metrics}
    choices = group_metrics(sorted(names))
    wanted = [name for _, group in choices for name in group if name in (columns or HEADLINE)]
    words = find.casefold().split()
    matches = []
    for one in experiments:
        entries = [entry for entry in one.entries if all(word in _text(entry) for word in words)]
        if entries:
            matches.append(replace(one, entries=tuple(_sorted(entries, sort))))
    return RunTable(
        experiments=tuple(matches),
        trainings=tuple(
            one for one in trainings if all(word in f"{one.name} {one.method}".casefold() for word in words)
        ),
        columns=tuple(wanted),
        choices=tuple(choices),
        n_total=sum(len(one.entries) for one in experiments),
    )


def orders(columns: Sequence[str]) -> dict[str, str]:
    """The orders of the columns with their words, the best first of each before the worst first."""
    ways = {"": "by name"}
    for name in columns:
        ends = (f"-{name}", name) if row_of(name).better in ("", UP) else (name, f"-{name}")
        kinds = ("best", "worst") if row_of(name).better else ("highest", "lowest")
        ways |= {end: f"{words_of(name)}, {kind} first" for end, kind in zip(ends, kinds, strict=True)}
    return ways


def _sorted(entries: Sequence[Entry], sort: str) -> list[Entry]:
    metric = sort.removeprefix("-")
    if not metric:
        return list(entries)

    def value(entry: Entry) -> float:
        cell = entry.cell(metric)
        return math.nan if cell is None else cell.value

    defined = [entry for entry in entries if math.isfinite(value(entry))]
    defined.sort(key=value, reverse=sort.startswith("-"))
    return [*defined, *(entry for entry in entries if not math.isfinite(value(entry)))]


def _text(entry: Entry) -> str:
    settings = (f"{name} {value}" for name, value in entry.settings.items())
    return " ".join((entry.name, *settings, entry.note.text)).casefold()
