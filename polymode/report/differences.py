"""Paired differences between arms, and their form on the page, in Markdown and in the terminal (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polymode.report.arms import Cell
from polymode.report.table import group_metrics, row_of, write_interval, write_number

MARK = "*"
"""Follows a difference whose interval excludes 0."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of an arm minus that of the baseline, over pairs of seeds."""

    cell: Cell
    """Mean over the pairs; interval: mean of the pairs' interval ends; n: questions of a pair."""
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
        return "better" if (self.cell.value > 0) == (better == "\N{UPWARDS ARROW}") else "worse"


@dataclass(frozen=True, slots=True)
class Differences:
    """Every arm minus the baseline."""

    against: str
    """Label of the baseline arm."""
    arms: tuple[tuple[str, Mapping[str, Difference]], ...]
    """Label of each other arm, and its differences by metric."""

    def rows(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, str, list[Difference | None]]]:
        """Group, metric and a difference per arm, of metrics that at least one arm has; all when ``names`` is None."""
        known = [name for _, found in self.arms for name, d in found.items() if d.cell.is_defined]
        for group, members in group_metrics(known):
            for name in members:
                if names is None or name in names:
                    yield group, name, [found.get(name) for _, found in self.arms]


def write_difference(difference: Difference | None, name: str) -> str:
    """``+0.31 [0.27, 0.35] *``; a dash when it is undefined."""
    if difference is None:
        return write_number(math.nan)
    value, interval = written(difference, name)
    return " ".join(part for part in (value, interval, MARK if difference.excludes_zero else "") if part)


def written(difference: Difference, name: str) -> tuple[str, str]:
    """Value with its sign, and interval, with the decimals of the metric."""
    decimals = row_of(name).decimals
    value = write_number(difference.cell.value, decimals)
    is_above = difference.cell.value > 0 and float(value) != 0
    return f"+{value}" if is_above else value, write_interval(difference.cell, decimals)


def differences_markdown(differences: Differences, names: Sequence[str]) -> str:
    """A Markdown table, one row per metric and one column per arm."""
    lines = [
        "| metric | " + " | ".join(label.replace("|", "\\|") for label, _ in differences.arms) + " |",
        "|---|" + "---:|" * len(differences.arms),
    ]
    rows = {name: found for _, name, found in differences.rows(names)}
    for name in (name for name in names if name in rows):
        lines.append(f"| {name} | " + " | ".join(write_difference(d, name) for d in rows[name]) + " |")
    return "\n".join(lines) + "\n"
