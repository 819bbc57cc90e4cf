"""The figure of training: reward, coverage and Brier score as completions are generated (layer L4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from polymode.report.arms import ArmData, FloatArray, training_line
from polymode.report.charts import Style
from polymode.report.panels import Figure, Styled, curves_of, draw_curves


def training(arms: Styled) -> Figure | None:
    """Training curves, one line per method and K; None without training rows."""
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
    x = "completions" if rows and all("completions" in row for row in rows) else "step"
    x_label = "completions generated" if x == "completions" else "training step"
    panels, legend = [], {}
    for name, title, y_label in (
        ("reward", "Reward", "mean score of a completion"),
        ("coverage", "Coverage", "references found per completion"),
        ("brier", "Brier score", "mean squared error"),
    ):
        curves = curves_of(runs, lambda data, name=name: training_line(data.training, x, name, _smooth))
        if curves:
            panels.append(draw_curves(curves, x_label, y_label, title, markers=False, zero=False, narrow=True))
            legend |= {label: style for label, style, _ in curves}
    if not panels:
        return None
    caption = (
        "Running mean over about one twenty-fifth of the run. Coverage counts the answers of one completion: at most 1 "
        "for single-answer methods, at most K for multi-answer ones; rewards differ by method in the same way."
    )
    if any(len(data.training) > 1 for data, _ in runs):
        caption += " Line: mean over seeds; band: smallest to largest seed."
    figure_title = f"Training: reward, coverage and Brier score by {x_label}"
    return Figure("training", figure_title, caption, tuple(panels), tuple(legend.items()))


def _label(data: ArmData, is_alone: bool) -> str:
    return data.arm.method if is_alone or data.k is None else f"{data.arm.method}, K = {data.k}"


def _smooth(values: FloatArray) -> FloatArray:
    """Centred running mean; near the ends the window is cut off, not padded."""
    window = np.ones(2 * (max(len(values) // 25, 1) // 2) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
