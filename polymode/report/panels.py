"""A figure: a title, a caption, and panels that each name their arm or share a legend (layer L4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

from polymode.report import charts
from polymode.report.arms import ArmData, Line
from polymode.report.charts import Markup, Style
from polymode.report.table import write_number

Styled = Sequence[tuple[ArmData, Style]]
Curve = tuple[str, Style, Line]
"""A line with its label."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing with its own heading."""

    svg: Markup
    heading: str = ""
    style: Style | None = None
    """Drawn before the heading when the panel shows one arm."""

    @property
    def alt(self) -> str:
        """What the drawing shows, in words."""
        label = re.search(r'aria-label="([^"]*)"', self.svg)
        return unescape(label[1]) if label else ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a list of bars, positions as fractions of the longest."""

    label: str
    style: Style
    text: str
    interval: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A titled group of panels."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    legend: tuple[tuple[str, Style], ...] = ()
    bars: tuple[Bar, ...] = ()

    @property
    def is_wide(self) -> bool:
        """Whether the figure takes the whole width of the page."""
        return len(self.panels) > 1 or (bool(self.panels) and bool(self.bars))


def curves_of(arms: Styled, line_of: Callable[[ArmData], Line | None]) -> list[Curve]:
    """The line of each arm that has one."""
    curves = ((data.arm.label, style, line_of(data)) for data, style in arms)
    return [(label, style, line) for label, style, line in curves if line is not None]


def draw_curves(curves: Sequence[Curve], x_label: str, y_label: str, heading: str = "", **options: Any) -> Panel:
    """A panel of curves; its alternative text has the first and the last point of each.

    ``options`` are those of `charts.line_chart`. What follows a comma in ``x_label`` is the symbol of the axis.
    """
    symbol = x_label.rpartition(", ")[2]
    ends = []
    for label, _, line in curves:
        points = dict.fromkeys(((line.x[0], line.y[0]), (line.x[-1], line.y[-1])))
        ends.append(f"{label}: " + ", ".join(f"{write_number(y, 2)} at {symbol} = {x:g}" for x, y in points))
    alt = f"Line chart. {y_label} by {x_label}. {'; '.join(ends)}."
    lines = [(line, style) for _, style, line in curves]
    return Panel(charts.line_chart(lines, alt=alt, x_label=x_label, y_label=y_label, **options), heading)


def figure_of_curves(
    id: str, title: str, caption: str, curves: Sequence[Curve], x_label: str, y_label: str, **options: Any
) -> Figure | None:
    """A figure of one panel of curves with their legend; None without a curve. Arguments as in `draw_curves`."""
    if not curves:
        return None
    legend = tuple((label, style) for label, style, _ in curves)
    return Figure(id, title, caption, (draw_curves(curves, x_label, y_label, **options),), legend)
