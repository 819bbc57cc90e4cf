"""The figure of training: reward, coverage and Brier score as completions are generated (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polymode.report import charts
from polymode.report.arms import ArmData, FloatArray, training_line
from polymode.report.charts import Style
from polymode.report.panels import Figure, Panel, Styled


def training(arms: Styled) -> Figure | None:
    """Training curves, one line per method and K; None without training rows."""
    runs: dict[tuple[object, ...], tuple[ArmData, Style]] = {}
    for data, style in arms:
        if data.training and data.arm.train not in runs:
            runs[data.arm.train] = (data, style)
    rows = [row for data, _ in runs.values() for folder in data.training for row in folder]
    x = "completions" if rows and all("completions" in row for row in rows) else "step"
    x_label = "completions generated" if x == "completions" else "training step"
    names = (
        ("reward", "Reward", "mean score of a completion"),
        ("coverage", "Coverage", "references found per completion"),
        ("brier", "Brier score", "mean squared error"),
    )
    panels, drawn = [], set()
    for name, title, unit in names:
        lines, ends = [], []
        for key, (data, style) in runs.items():
            line = training_line(data.training, x, name, _smooth)
            if line is not None:
                lines.append((line, style))
                drawn.add(key)
                ends.append(f"{_run_label(data, runs)}: {line.y[0]:.2f} to {line.y[-1]:.2f}")
        if lines:
            svg = charts.line_chart(
                lines, alt=f"Line chart. Training {name} by {x_label}, first to last: {'; '.join(ends)}.",
                x_label=x_label, y_label=unit, markers=False, zero=False, narrow=True,
            )  # fmt: skip
            panels.append(Panel(svg, title))
    if not panels:
        return None
    several = any(len(data.training) > 1 for data, _ in runs.values())
    caption = (
        "Running mean over about one twenty-fifth of the run. Coverage counts the answers of one completion: at most 1 "
        "for single-answer methods, at most K for multi-answer ones; rewards differ by method in the same way."
    )
    caption += " Line: mean over seeds; band: smallest to largest seed." if several else ""
    legend = tuple((_run_label(data, runs), style) for key, (data, style) in runs.items() if key in drawn)
    return Figure(
        "training", f"Training: reward, coverage and Brier score by {x_label}", caption, tuple(panels), legend
    )


def _run_label(data: ArmData, runs: Mapping[tuple[object, ...], tuple[ArmData, Style]]) -> str:
    is_alone = sum(other.arm.method == data.arm.method for other, _ in runs.values()) == 1
    return data.arm.method if is_alone or data.k is None else f"{data.arm.method}, K = {data.k}"


def _smooth(values: FloatArray) -> FloatArray:
    """Centred running mean; near the ends the window is cut off, not padded."""
    half = max(len(values) // 25, 1) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)
