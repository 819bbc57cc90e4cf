"""Two evaluation folders beside each other, for a page: metrics, paired differences, and the questions they differ in.

The same stored verdicts and the same bootstrap as `polymode compare`, without writing anything: who opens a page starts
no program and asks no language model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import Column, columns_of, run_at
from polymode.compare.pairs import Evaluations, differences_of
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation
from polymode.report.arms import Cell, read_arm
from polymode.report.differences import Difference
from polymode.report.equal_tokens import completions_for, find_budget, with_equal_tokens
from polymode.report.table import group_metrics
from polymode.uncertainty import SumStatistic

N_BOOT = 1000
"""Bootstrap replicates of the differences: a page is waited for."""
MAX_BYTES = 500_000_000
"""Largest judged.jsonl that is read for a page."""


@dataclass(frozen=True, slots=True)
class MetricOfTwo:
    """One metric of both."""

    name: str
    first: Cell
    second: Cell
    difference: Difference | None
    """first - second; None where one of them has none."""


@dataclass(frozen=True, slots=True)
class QuestionOfTwo:
    """A question that both answered; means over its sets."""

    id: str
    coverage: tuple[float, float]
    brier: tuple[float, float]
    """Mean squared distance of confidences and hits; NaN where none are stated."""


@dataclass(frozen=True, slots=True)
class TwoRuns:
    """What a page says of two runs."""

    labels: tuple[str, str]
    groups: tuple[tuple[str, tuple[MetricOfTwo, ...]], ...]
    """Metrics under their titles, in the order of the report."""
    questions: tuple[QuestionOfTwo, ...]
    """Those that differ, the most different in coverage first, then in Brier score."""
    n_shared: int


def compare_two(first: Path, second: Path, *, n_boot: int = N_BOOT) -> TwoRuns:
    """Compare two evaluation folders.

    Raises:
        ConfigError: they share no question, or are too large.
        RunIncompleteError, RecordError: a file is missing or damaged.
    """
    one, other = columns = columns_apart(first, second)
    for column in columns:
        size = (column.runs[0].folder / runs.JUDGED).stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"{column.name} has {size / 1e6:,.0f} MB of judged completions, too many for a page: polymode compare "
                "A B --out FOLDER compares them, and its report.html is shown here too"
            )
    data = [read_arm(column.arm) for column in columns]
    budget = find_budget(data)
    paid = (completions_for(budget, data[0]), completions_for(budget, data[1]))
    data = with_equal_tokens(data, budget)
    evaluations = Evaluations()
    differences = differences_of(one, other, evaluations, paid, n_boot=n_boot)
    metrics = {
        name: MetricOfTwo(name, data[0].cell(name), data[1].cell(name), differences.get(name))
        for name in [*data[0].metrics, *data[1].metrics]
        if any(side.cell(name).is_defined for side in data)
    }
    questions, n_shared = _questions(evaluations.of(one.runs[0]), evaluations.of(other.runs[0]))
    return TwoRuns(
        labels=(one.arm.label, other.arm.label),
        groups=tuple((title, tuple(metrics[name] for name in names)) for title, names in group_metrics(list(metrics))),
        questions=questions,
        n_shared=n_shared,
    )


def columns_apart(*folders: Path) -> list[Column]:
    """A column for each folder, also for two seeds of one arm; labels are told apart."""
    columns = [columns_of([run_at(folder)])[0] for folder in folders]
    labels = [column.arm.label for column in columns]
    if len(set(labels)) == len(labels):
        return columns
    return [
        replace(column, arm=replace(column.arm, label=f"{letter}: {column.arm.label}"))
        for column, letter in zip(columns, "AB", strict=False)
    ]


def _questions(*sides: Evaluation) -> tuple[tuple[QuestionOfTwo, ...], int]:
    per_question = {name: [_per_question(side, name) for side in sides] for name in ("coverage", "brier")}

    def pair(name: str, id_: str) -> tuple[float, float]:
        first, second = (values.get(id_, math.nan) for values in per_question[name])
        return first, second

    theirs = set(sides[1].question_ids)
    shared = [id_ for id_ in sides[0].question_ids if id_ in theirs]
    questions = [QuestionOfTwo(id_, pair("coverage", id_), pair("brier", id_)) for id_ in shared]
    differing = [one for one in questions if _gap(one.coverage) > 0 or _gap(one.brier) > 0]
    differing.sort(key=lambda one: (-_gap(one.coverage), -_gap(one.brier)))
    return tuple(differing), len(shared)


def _gap(pair: tuple[float, float]) -> float:
    gap = abs(pair[0] - pair[1])
    return gap if gap > 1e-9 else 0.0  # NaN too


def _per_question(side: Evaluation, name: str) -> dict[str, float]:
    """The metric of each question by itself; NaN where it has nothing to say."""
    statistic = side.statistics.get(name)
    if not isinstance(statistic, SumStatistic):
        return {}
    values = statistic.finish(*statistic.sums)  # each question stands where a replicate would
    return dict(zip(side.question_ids, values.tolist(), strict=True))
