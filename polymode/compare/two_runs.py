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
from polymode.compare.evaluations import Evaluations
from polymode.compare.pairs import differences_of
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation
from polymode.report.arms import ArmData, Cell, read_arm
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
    notes: tuple[str, ...] = ()
    """What a reader must know."""


def compare_two(first: Path, second: Path, *, n_boot: int = N_BOOT) -> TwoRuns:
    """Compare two evaluation folders.

    Raises:
        ConfigError: they share no question, or are too large.
        RunIncompleteError, RecordError: a file is missing or damaged.
    """
    one, other = columns = columns_apart(first, second)
    for column in columns:
        _check(column)
    data = [read_arm(column.arm) for column in columns]
    budget = find_budget(data)
    paid = (completions_for(budget, data[0]), completions_for(budget, data[1]))
    data = with_equal_tokens(data, budget)
    evaluations = Evaluations()
    differences = differences_of(one, other, evaluations, paid, n_boot=n_boot)
    names = [name for name in dict.fromkeys([*data[0].metrics, *data[1].metrics]) if _is_known(data, name)]
    groups = tuple(
        (
            title,
            tuple(MetricOfTwo(name, data[0].cell(name), data[1].cell(name), differences.get(name)) for name in found),
        )
        for title, found in group_metrics(names)
    )
    questions, n_shared = _questions(evaluations.of(one.runs[0]), evaluations.of(other.runs[0]))
    return TwoRuns(
        labels=(columns[0].arm.label, columns[1].arm.label),
        groups=groups,
        questions=questions,
        n_shared=n_shared,
    )


def columns_apart(*folders: Path) -> list[Column]:
    """A column for each folder, also for two seeds of one arm; labels are told apart."""
    columns = [columns_of([run_at(folder)])[0] for folder in folders]
    labels = [column.arm.label for column in columns]
    if len(set(labels)) == len(labels):
        return columns
    return [_named(column, letter) for column, letter in zip(columns, "AB", strict=False)]


def _named(column: Column, letter: str) -> Column:
    return replace(column, arm=replace(column.arm, label=f"{letter}: {column.arm.label}"))


def _check(column: Column) -> None:
    size = (column.runs[0].folder / runs.JUDGED).stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(
            f"{column.name} has {size / 1e6:,.0f} MB of judged completions, too many for a page: polymode compare A B "
            "--out FOLDER compares them, and its report.html is shown here too"
        )


def _is_known(data: list[ArmData], name: str) -> bool:
    return any(one.cell(name).is_defined for one in data)


def _questions(first: Evaluation, second: Evaluation) -> tuple[tuple[QuestionOfTwo, ...], int]:
    shared = set(first.question_ids) & set(second.question_ids)
    sides = [(_per_question(side, "coverage"), _per_question(side, "brier")) for side in (first, second)]
    found = [
        QuestionOfTwo(
            id_,
            (sides[0][0].get(id_, math.nan), sides[1][0].get(id_, math.nan)),
            (sides[0][1].get(id_, math.nan), sides[1][1].get(id_, math.nan)),
        )
        for id_ in first.question_ids
        if id_ in shared
    ]
    differing = [one for one in found if any(_gap(pair) > 0 for pair in (one.coverage, one.brier))]
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
