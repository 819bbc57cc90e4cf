"""The table of metrics: how each is written, and why a cell is empty (layer L4)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from polymode.report.arms import Arm, ArmData, Cell, read_arm
from polymode.report.equal_tokens import METRIC, find_budget, with_equal_tokens
from polymode.report.words import row_of

EMPTY = "\N{EN DASH}"


def own_metrics(columns: Iterable[ArmData]) -> list[str]:
    """Names of the metrics that are not polymode's own, in the order of the columns."""
    return list(dict.fromkeys(name for data in columns for name in data.metrics if not row_of(name).label))


def write_number(value: float, decimals: int = 3) -> str:
    """``value`` with a fixed number of decimals and a real minus sign; a dash when it is NaN."""
    if not math.isfinite(value):
        return EMPTY
    text = f"{value:.{decimals}f}"
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") and float(text) else text.removeprefix("-")


def write_interval(cell: Cell, decimals: int = 3) -> str:
    """``[low, high]``, empty when the interval is undefined."""
    if not (math.isfinite(cell.low) and math.isfinite(cell.high)):
        return ""
    return f"[{write_number(cell.low, decimals)}, {write_number(cell.high, decimals)}]"


def write_range(cell: Cell, decimals: int = 3) -> str:
    """Smallest to largest seed, empty with fewer than two seeds or when both are written the same."""
    if len(cell.by_seed) < 2:
        return ""
    ends = [write_number(end, decimals) for end in (min(cell.by_seed), max(cell.by_seed))]
    return " to ".join(ends) if ends[0] != ends[1] else ""


def why_empty(data: ArmData, name: str) -> str:
    """The reason why ``data`` has no value for the metric."""
    row = row_of(name)
    if name in data.remarks:
        return data.remarks[name]
    if row.needs == "confidences" and not data.view.get("has_confidence"):
        return "undefined: this arm states no confidences"
    if name not in data.metrics:
        return "not computed by this evaluation"
    cell = data.cell(name)
    if cell.reason:
        return f"not reported: {cell.reason}"
    if cell.n == 0 and row.needs == "truth":
        return "undefined: no true probabilities, or no confidences to compare with them"
    return f"undefined (n = {cell.n}, unscored {cell.n_unscored})"


def explain(data: ArmData, name: str) -> str:
    """The details of a cell: units, seeds and the value of each seed."""
    cell, row = data.cell(name), row_of(name)
    if not cell.is_defined:
        return why_empty(data, name)
    parts = [f"{name} = {write_number(cell.value, row.decimals)}", f"n = {cell.n:,}"]
    if name in data.remarks:
        parts.append(data.remarks[name])
    if cell.reason:
        parts.append(cell.reason)
    if cell.n_unscored:
        parts.append(f"unscored {cell.n_unscored:,}")
    if len(cell.by_seed) > 1:
        parts.append("by seed " + ", ".join(write_number(value, row.decimals) for value in cell.by_seed))
    return "; ".join(parts)


def table_markdown(arms: Sequence[Arm], metrics: Sequence[str]) -> str:
    """A Markdown table, one row per metric and one column per arm: ``value [low, high]``, seed range in parentheses.

    A metric that none of the evaluations computed has no row. Below the table is the token budget of
    ``coverage_at_equal_tokens``, with a reason for each arm where it is undefined.

    Raises:
        RunIncompleteError: an evaluation folder lacks its metrics.
    """
    columns = [read_arm(arm) for arm in arms]
    budget = find_budget(columns)
    columns = with_equal_tokens(columns, budget)
    rows = []
    for name in metrics:
        if any(name in data.metrics for data in columns):
            rows.append((name, [_write_cell(data.cell(name), row_of(name).decimals) for data in columns]))
    text = markdown_table([data.arm.label for data in columns], rows)
    if budget is not None and METRIC in metrics:
        empty = [data for data in columns if not data.cell(METRIC).is_defined]
        reasons = [f"{data.arm.label}: {data.remarks[METRIC]}." for data in empty]
        text += "\n\n" + _escape(" ".join([budget.words, *reasons]))
    return text + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A Markdown table of metrics from the labels of its columns and the name and cells of each row."""
    lines = ["| metric | " + " | ".join(map(_escape, columns)) + " |", "|---|" + "---:|" * len(columns)]
    return "\n".join([*lines, *(f"| {_escape(name)} | {' | '.join(cells)} |" for name, cells in rows)])


def _write_cell(cell: Cell, decimals: int) -> str:
    spread = write_range(cell, decimals)
    parts = (write_number(cell.value, decimals), write_interval(cell, decimals), f"({spread})" if spread else "")
    return " ".join(part for part in parts if part)


def _escape(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
