"""The figure of K: coverage and cost of one multi-answer method trained with several K (layer L4)."""

from __future__ import annotations

import math

import numpy as np

from polymode.report import charts
from polymode.report.arm_selection import of_several_k
from polymode.report.arms import Cell, Line
from polymode.report.panels import Figure, Panel, Styled
from polymode.report.table import write_number


def several_k(arms: Styled) -> Figure | None:
    """Coverage, its distance to the best possible, and tokens by K; None unless a method has several K."""
    groups = of_several_k(arms)
    if not groups:
        return None
    marks = [(float(data.k or 0), data.cell("best_coverage").value) for same in groups.values() for data, _ in same]
    marks = [(k, best) for k, best in marks if math.isfinite(best)]
    panels = [
        _panel(groups, "coverage", "References found", "distinct references found per set", marks=marks),
        _panel(groups, "coverage_of_best", "Share of the best possible", "coverage / best possible"),
        _panel(groups, "tokens_per_reference", "Tokens per reference found", "tokens per reference found"),
    ]
    kept = tuple(panel for panel in panels if panel is not None)
    if not kept:
        return None
    caption = "Each point is a model trained for its own K. Band: 95% intervals."
    caption += " Diamonds: the best possible with K answers." if marks else ""
    legend = tuple((method, same[0][1]) for method, same in groups.items())
    return Figure("k", "References found and tokens (counts) by answers requested (K)", caption, kept, legend)


def _panel(
    groups: dict[str, Styled], name: str, heading: str, unit: str, marks: list[tuple[float, float]] | None = None
) -> Panel | None:
    lines, ends = [], []
    for method, same in groups.items():
        cells: list[tuple[int, Cell]] = [
            (data.k, data.cell(name)) for data, _ in same if data.k is not None and data.cell(name).is_defined
        ]
        if len(cells) > 1:
            columns = [[k, cell.value, cell.low, cell.high] for k, cell in cells]
            x, y, low, high = np.array(columns, dtype=float).T
            lines.append((Line(x, y, low, high), same[0][1]))
            said = ", ".join(f"{write_number(cell.value, 2)} at K = {k}" for k, cell in cells)
            ends.append(f"{method}: {said}")
    if not lines:
        return None
    svg = charts.line_chart(
        lines, alt=f"Line chart. {heading} by K. {'; '.join(ends)}.", x_label="answers requested, K", y_label=unit,
        marks=marks or (), narrow=True,
    )  # fmt: skip
    return Panel(svg, heading)
