"""Figures of training runs: what each step measured, and what validation questions showed meanwhile (layer L4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from polymode.report.arms import ArmData, FloatArray, training_line
from polymode.report.charts import Style
from polymode.report.panels import Figure, Styled, curves_of, draw_curves

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
        "Running mean over about one twenty-fifth of the run. Coverage counts the answers of one completion: at most 1 "
        "for single-answer methods, at most K for multi-answer ones; rewards differ by method in the same way."
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
            lambda values: values,
        ),
    ]


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
    smooth: Callable[[FloatArray], FloatArray],
) -> Figure | None:
    panels, legend = [], {}
    for name, heading, y_label in names:
        curves = curves_of(
            trainings.runs, lambda data, name=name: training_line(data.training, trainings.x, name, smooth)
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


def _smooth(values: FloatArray) -> FloatArray:
    """Centred running mean; near the ends the window is cut off, not padded."""
    window = np.ones(2 * (max(len(values) // 25, 1) // 2) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
