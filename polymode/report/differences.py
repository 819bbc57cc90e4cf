"""Paired differences between arms, and their form on the page, in Markdown and in the terminal (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polymode.report.arms import Cell
from polymode.report.table import EMPTY, markdown_table, write_interval, write_number
from polymode.report.words import UP, row_of

MARK = "*"
"""Follows a difference whose interval excludes 0."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of an arm minus that of the baseline, over pairs of seeds."""

    cell: Cell
    """Mean over the pairs, with an interval that includes seeds; n: questions of a pair."""
    n_pairs: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0."""
        return self.cell.low > 0 or self.cell.high < 0

    def verdict(self, name: str) -> str:
        """``better`` or ``worse`` when the interval excludes 0 and the metric has a direction, else empty."""
        better = row_of(name).better
        if not self.excludes_zero or not better:
            return ""
        return "better" if (self.cell.value > 0) == (better == UP) else "worse"


@dataclass(frozen=True, slots=True)
class Differences:
    """Every arm minus the baseline."""

    against: str
    """Label of the baseline arm."""
    arms: tuple[tuple[str, Mapping[str, Difference]], ...]
    """Label of each other arm, and its differences by metric."""

    @property
    def names(self) -> list[str]:
        """Metrics that at least one arm has."""
        return list(dict.fromkeys(name for _, own in self.arms for name, d in own.items() if d.cell.is_defined))


def write_difference(difference: Difference | None, name: str) -> str:
    """``+0.31 [0.27, 0.35] *``; a dash when it is undefined."""
    if difference is None:
        return EMPTY
    value, interval = write_parts(difference, name)
    return " ".join(part for part in (value, interval, MARK if difference.excludes_zero else "") if part)


def write_parts(difference: Difference, name: str) -> tuple[str, str]:
    """Value with its sign, and interval, with the decimals of the metric."""
    decimals = row_of(name).decimals
    value = write_number(difference.cell.value, decimals)
    is_above = difference.cell.value > 0 and float(value) != 0
    return f"+{value}" if is_above else value, write_interval(difference.cell, decimals)


def differences_markdown(differences: Differences, names: Sequence[str]) -> str:
    """A Markdown table, one row per metric and one column per arm."""
    rows = [
        (name, [write_difference(own.get(name), name) for _, own in differences.arms])
        for name in names
        if name in differences.names
    ]
    return markdown_table([label for label, _ in differences.arms], rows) + "\n"
