"""A figure: a title, a caption, and panels that each name their arm or share a legend (layer L4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polymode.report.arms import ArmData
from polymode.report.charts import Markup, Style

Styled = Sequence[tuple[ArmData, Style]]
Legend = tuple[tuple[str, Style], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing with its own heading."""

    svg: Markup
    heading: str = ""
    style: Style | None = None
    """Drawn before the heading when the panel shows one arm."""


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
    legend: Legend = ()
    bars: tuple[Bar, ...] = ()

    @property
    def is_wide(self) -> bool:
        """Whether the figure takes the whole width of the page."""
        return len(self.panels) > 1 or (bool(self.panels) and bool(self.bars))
