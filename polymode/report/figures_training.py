"""Figures of training runs: what each step measured, and what validation questions showed meanwhile (layer L4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t

from polymode.report.arms import Arm, ArmData, Cell, Line, number, training_line
from polymode.report.charts import Style, assign_styles
from polymode.report.panels import Figure, Styled, curves_of, draw_curves
from polymode.report.words import STEP_ROWS, step_row_of

VALIDATION = (
    ("validation/sampled/coverage", "Coverage, sampled", "references found per completion"),
    ("validation/greedy/coverage", "Coverage, greedy", "references found per completion"),
    ("validation/sampled/brier", "Brier score, sampled", "mean squared error"),
    ("validation/sampled/share_clean", "Clean completions, sampled", "share that keeps the format"),
)
"""Figures on validation questions in metrics.jsonl, with title and axis."""


class Trainings(NamedTuple):
    """One line per method and K."""

    runs: Styled
    x: str
    """Field on the horizontal axis."""
    x_label: str

    @property
    def several_seeds(self) -> bool:
        """Whether a line is a mean over training runs."""
        return any(len(data.training) > 1 for data, _ in self.runs)


def training_figures(arms: Styled) -> list[Figure | None]:
    """The figures of training and of validation, each None where no arm has data."""
    trainings = _trainings(arms)
    caption = (
        "Running mean over about one twenty-fifth of the run, at least five steps. Coverage counts the answers of one "
        "completion: at most 1 for single-answer methods, at most K for multi-answer ones; rewards differ by method in "
        "the same way."
    )
    panels = (
        ("reward", "Reward", "mean score of a completion"),
        ("coverage", "Coverage", "references found per completion"),
        ("brier", "Brier score", "mean squared error"),
    )
    title = f"Training: reward, coverage and Brier score by {trainings.x_label}"
    validation = "Validation questions during training: coverage, Brier score and clean completions by "
    return [
        _figure("training", title, caption, panels, trainings, _smooth),
        _figure(
            "validation",
            validation + trainings.x_label,
            f"The same questions each time, one completion of each in the method's own format. {_cost_of(trainings)}",
            VALIDATION,
            trainings,
            lambda line: line,
        ),
    ]


def figures_of_training(rows: Sequence[Mapping[str, Any]], label: str) -> list[Figure]:
    """The figures of one training by itself, also of one that has not ended, from the rows of its metrics.jsonl."""
    data = ArmData(Arm(label, label, ()), {}, {}, (), (tuple(rows),))
    figures = training_figures([(data, style) for style in assign_styles([label])])
    return [figure for figure in figures if figure is not None]


def latest(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Cell]]:
    """What a training measured last, with 95% intervals: means over its last steps, and its last validation.

    A mean is over the last tenth of the steps, at least five, as in the figures; n is their number. Where the
    steps do not differ, or the file of an earlier version has no interval of a validation, there is none.
    """
    last: dict[str, Cell] = {}
    for name in STEP_ROWS:
        values = np.array([value for row in rows if math.isfinite(value := number(row.get(name)))])
        values = values[-max(len(values) // 10, 5) :]
        if n := len(values):
            spread, mean = float(values.std(ddof=1)) if n > 1 else 0.0, float(values.mean())
            half = float(t.ppf(0.975, n - 1)) * spread / n**0.5 if spread > 0 else math.nan
            least, largest = STEP_ROWS[name].limits
            last[name] = Cell(mean, max(mean - half, least), min(mean + half, largest), n)
    for name in (f"validation/{how}/{name}" for how in ("sampled", "greedy") for name in STEP_ROWS):
        measured = [row for row in rows if math.isfinite(number(row.get(name)))]
        if measured:
            value, low, high = (number(measured[-1].get(f"{name}{end}")) for end in ("", "_low", "_high"))
            questions = number(measured[-1].get("validation/questions"))
            last[name] = Cell(value, low, high, int(questions) if math.isfinite(questions) else 0)
    return list(last.items())


def _trainings(arms: Styled) -> Trainings:
    first: dict[tuple[Path, ...], tuple[ArmData, Style]] = {}
    for data, style in arms:
        if data.training:
            first.setdefault(data.arm.train, (data, style))
    n_of_method = Counter(data.arm.method for data, _ in first.values())
    runs = [
        (replace(data, arm=replace(data.arm, label=_label(data, n_of_method[data.arm.method] == 1))), style)
        for data, style in first.values()
    ]
    rows = [row for data, _ in runs for folder in data.training for row in folder]
    if rows and all("completions" in row for row in rows):
        return Trainings(runs, "completions", "completions generated")
    return Trainings(runs, "step", "training step")


def _figure(
    id: str,
    title: str,
    caption: str,
    names: Sequence[tuple[str, str, str]],
    trainings: Trainings,
    smooth: Callable[[Line], Line],
) -> Figure | None:
    panels, legend = [], {}
    for name, heading, y_label in names:
        curves = curves_of(
            trainings.runs,
            lambda data, name=name: _within(name, training_line(data.training, trainings.x, name, smooth)),
        )
        if curves:
            markers = id == "validation"  # few points, each a measurement
            panels.append(
                draw_curves(curves, trainings.x_label, y_label, heading, markers=markers, zero=False, narrow=True)
            )
            legend |= {label: style for label, style, _ in curves}
    if not panels:
        return None
    if trainings.several_seeds:
        caption += " Line: mean over seeds; band: smallest to largest seed."
    elif id == "training":
        caption += " Band: 95% interval of this mean, from how much its steps differ."
    elif any(
        "_low" in name for data, _ in trainings.runs for folder in data.training for row in folder for name in row
    ):
        caption += " Band: 95% interval over the questions."
    return Figure(id, title, caption, tuple(panels), tuple(legend.items()))


def _cost_of(trainings: Trainings) -> str:
    """What validation cost, of all runs together."""
    rows: list[Mapping[str, float]] = [row for data, _ in trainings.runs for folder in data.training for row in folder]
    measured = [row for row in rows if "validation/seconds" in row]
    if not measured:
        return ""
    seconds, tokens = (sum(row[f"validation/{name}"] for row in measured) for name in ("seconds", "tokens"))
    return (
        f"{len(measured)} measurements of {measured[0]['validation/questions']:g} questions took {seconds:,.0f} s and "
        f"{tokens:,.0f} tokens in all."
    )


def _label(data: ArmData, is_alone: bool) -> str:
    return data.arm.method if is_alone or data.k is None else f"{data.arm.method}, K = {data.k}"


def _within(name: str, line: Line | None) -> Line | None:
    """The line with a band inside what the figure can be."""
    limits = step_row_of(name).limits
    return None if line is None else replace(line, low=np.clip(line.low, *limits), high=np.clip(line.high, *limits))


def _smooth(line: Line) -> Line:
    """Centred running mean with the interval of a mean of n steps, mean ± t s / √n.

    Near the ends the window is cut off, not padded. Steps have different questions, so they are taken as independent;
    what the model learns within a window makes the interval wider, never too narrow.
    """
    steps = len(line.y)
    window = np.ones(2 * (max(steps // 25, 5 if steps >= 10 else 1) // 2) + 1)
    # Around their mean, so that the sum of squares keeps its digits.
    centre = line.y.mean()
    gaps = line.y - centre
    n, total, squares = (np.convolve(values, window, "same") for values in (np.ones(steps), gaps, gaps**2))
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0) * n / np.maximum(n - 1, 1))
    half = np.where(n > 1, t.ppf(0.975, np.maximum(n - 1, 1)) * spread / np.sqrt(n), np.nan)
    return Line(line.x, mean + centre, mean + centre - half, mean + centre + half)
