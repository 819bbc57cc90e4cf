"""The report's figures of one or two evaluation folders, each drawing as a file of its own, for a page."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import quote

from polymode.compare.two_runs import columns_apart
from polymode.report import charts
from polymode.report.arms import read_arm
from polymode.report.figures import build_figures
from polymode.report.panels import Figure


@dataclass(frozen=True, slots=True)
class DrawnPanel:
    """One drawing."""

    heading: str
    svg: str
    """A whole SVG file, for a light and for a dark page."""
    alt: str
    """What it shows, in words."""


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A titled group of drawings."""

    id: str
    title: str
    caption: str
    panels: tuple[DrawnPanel, ...]
    legend: tuple[tuple[str, str], ...]
    """What each line stands for, and its swatch as a data URL."""


def figures_of(*folders: Path) -> list[DrawnFigure]:
    """The figures for which at least one of the folders has data.

    Raises:
        RunIncompleteError, RecordError: a file is missing or damaged.
        MissingExtraError: matplotlib is not installed.
    """
    columns = columns_apart(*folders)
    data = [read_arm(column.arm) for column in columns]
    styles = charts.assign_styles([column.arm.method for column in columns])
    best = next((one.cell("best_coverage").value for one in data if one.cell("best_coverage").is_defined), math.nan)
    figures = build_figures(list(zip(data, styles, strict=True)), {"best_coverage": best})
    return [_drawn(figure) for figure in figures if figure.panels]


def _drawn(figure: Figure) -> DrawnFigure:
    return DrawnFigure(
        id=figure.id,
        title=figure.title,
        caption=figure.caption,
        panels=tuple(
            DrawnPanel(panel.heading, charts.svg_file(panel.svg), unescape(label[1] if label else ""))
            for panel in figure.panels
            for label in [re.search(r'aria-label="([^"]*)"', panel.svg)]
        ),
        legend=tuple(
            (label, f"data:image/svg+xml,{quote(charts.svg_file(charts.swatch(style)))}")
            for label, style in figure.legend
        ),
    )
