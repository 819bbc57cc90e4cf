"""The report of chosen evaluation folders, for a page, and the questions that they differ in.

The same stored verdicts, bootstrap and page as `polymode compare`, without writing anything: who opens a page starts no
program and asks no language model. Texts of completions are no part of it: a server has pages of questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import Column, columns_of, run_at
from polymode.compare.compare import compare_columns
from polymode.compare.comparison import Comparison
from polymode.compare.pairs import Evaluations
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation
from polymode.report.page import report_html
from polymode.uncertainty import SumStatistic

N_BOOT = 1000
"""Bootstrap replicates of the differences: a page is waited for."""
MAX_BYTES = 1_000_000_000
"""Judged completions, all folders together, that are read for a page."""


@dataclass(frozen=True, slots=True)
class QuestionOfRuns:
    """A question that all of the runs answered; means over the sets of each."""

    id: str
    coverage: tuple[float, ...]
    brier: tuple[float, ...]
    """Mean squared distance of confidences and hits; NaN where none are stated."""

    @property
    def has_brier(self) -> bool:
        """Whether any of the runs states confidences."""
        return any(math.isfinite(value) for value in self.brier)


@dataclass(frozen=True, slots=True)
class DifferingQuestions:
    """The questions that runs differ in."""

    questions: tuple[QuestionOfRuns, ...]
    """The most different in coverage first, then in Brier score."""
    n_shared: int
    """Questions that all of the runs answered."""


def report_of_run(folder: Path, *, title: str, links: Sequence[tuple[str, str]] = ()) -> str:
    """The report of one evaluation folder as HTML.

    Raises:
        RunIncompleteError, RecordError: a file is missing or damaged.
        MissingExtraError: matplotlib is not installed.
    """
    [column] = columns_of([run_at(folder)])
    return report_html(title=title, intro=(), arms=[column.arm], links=links, with_groups=False)


def report_of_runs(folders: Sequence[Path], *, title: str, links: Sequence[tuple[str, str]] = ()) -> str:
    """The report of several evaluation folders, with paired differences to the first, as HTML.

    Seeds of one arm are one column, as in `polymode compare`; only where that leaves one column are they told apart.

    Raises:
        ConfigError: they share no question, or are too large.
        RunIncompleteError, RecordError: a file is missing or damaged.
        MissingExtraError: matplotlib is not installed.
    """
    comparison = _compared(folders)
    return report_html(
        title=title,
        intro=comparison.intro(),
        arms=comparison.data,
        facts={"replicates": f"{N_BOOT:,}"},
        differences=comparison.to_baseline,
        links=links,
        with_groups=False,
    )


def _compared(folders: Sequence[Path]) -> Comparison:
    _check_size(folders)
    columns = columns_of([run_at(folder) for folder in folders])
    if len(columns) == 1:
        columns = _columns_apart(folders)
    return compare_columns(columns, columns[0], Evaluations(), n_boot=N_BOOT)


def _columns_apart(folders: Sequence[Path]) -> list[Column]:
    """A column for each folder, by its seed where it has one."""
    columns = []
    for number, folder in enumerate(folders, 1):
        [column] = columns_of([run_at(folder)])
        seed = column.runs[0].seed
        own = f"run {number}" if seed is None else f"seed {seed}"
        arm = replace(column.arm, label=f"{column.arm.label}, {own}")
        columns.append(replace(column, name=f"{column.name}, {own}", arm=arm))
    return columns


def _check_size(folders: Sequence[Path]) -> None:
    """Refuse folders with more judged completions than a page is waited for; raises ConfigError."""
    size = sum((folder / runs.JUDGED).stat().st_size for folder in folders)
    if size > MAX_BYTES:
        raise ConfigError(
            f"the runs have {size / 1e6:,.0f} MB of judged completions, too many for a page: polymode compare A B "
            "--out FOLDER compares them, and its report.html is shown here too"
        )


def differing_questions(folders: Sequence[Path]) -> DifferingQuestions:
    """The questions that evaluation folders differ in.

    Raises:
        ConfigError: the folders are too large.
        RunIncompleteError, RecordError: a file is missing or damaged.
    """
    _check_size(folders)
    evaluations = Evaluations()
    sides = [evaluations.of(run_at(folder)) for folder in folders]
    coverage, brier = ([_per_question(side, name) for side in sides] for name in ("coverage", "brier"))
    others = [set(side.question_ids) for side in sides[1:]]
    shared = [id_ for id_ in sides[0].question_ids if all(id_ in ids for ids in others)]
    questions = [
        QuestionOfRuns(id_, *(tuple(own.get(id_, math.nan) for own in values) for values in (coverage, brier)))
        for id_ in shared
    ]
    differing = [one for one in questions if _gap(one.coverage) > 0 or _gap(one.brier) > 0]
    differing.sort(key=lambda one: (-_gap(one.coverage), -_gap(one.brier)))
    return DifferingQuestions(tuple(differing), len(shared))


def _gap(values: Sequence[float]) -> float:
    """Largest minus smallest of the values that are defined."""
    defined = [value for value in values if math.isfinite(value)]
    gap = max(defined) - min(defined) if defined else 0.0
    return gap if gap > 1e-9 else 0.0


def _per_question(side: Evaluation, name: str) -> dict[str, float]:
    """The metric of each question by itself; NaN where it has nothing to say."""
    statistic = side.statistics.get(name)
    if not isinstance(statistic, SumStatistic):
        return {}
    values = statistic.finish(*statistic.sums)  # each question stands where a replicate would
    return dict(zip(side.question_ids, values.tolist(), strict=True))
