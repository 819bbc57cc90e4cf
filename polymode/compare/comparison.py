"""A comparison and its texts: compare.md, compare.json and what the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from polymode import runs
from polymode.compare.columns import Column
from polymode.report.arm_selection import of_several_k
from polymode.report.arms import ArmData, read_arm
from polymode.report.charts import assign_styles
from polymode.report.differences import MARK, Difference, Differences, differences_markdown, write_difference
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.report.equal_tokens import TokenBudget
from polymode.report.examples import WorkedExample, pick_examples
from polymode.report.headline import strongest
from polymode.report.table import own_metrics, table_markdown, write_interval, write_number
from polymode.report.words import row_of

TABLE = (
    *("coverage", "coverage_of_best", EQUAL_TOKENS, "recall", "precision", "pass@1", "uniqueness", "unique_answers@30"),
    *("modal_share@30", "distinct_by_ast", "distinct_by_behaviour"),
    *("overlap_rouge_l", "brier", "brier_constant", "brier_floor", "brier_gap_closed", "brier_gap_closed_expected"),
    *("ece", "ece_debiased", "auroc", "kl", "total_variation", "mean_sum_confidence", "mean_hits"),
    *("tokens_per_set", "tokens_per_reference", "aurc", "malformed_rate"),
)
"""Metrics of the table as text."""
_BLOCKS = (
    ("coverage", EQUAL_TOKENS, "pass@1"),
    ("unique_answers@30", "tokens_per_set", "tokens_per_reference"),
    ("brier", "ece", "auroc"),
)
"""Metrics of the terminal's tables: as many side by side as a terminal is wide."""
_OF_K = ("coverage", "best_coverage", "coverage_of_best", "uniqueness", "tokens_per_set", "tokens_per_reference")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Columns side by side, and their paired differences to one of them."""

    FILE: ClassVar[str] = "compare.json"

    columns: tuple[Column, ...]
    data: tuple[ArmData, ...]
    """What the report reads of each column, with coverage at equal tokens."""
    budget: TokenBudget | None
    against: Column
    differences: Mapping[str, Mapping[str, Difference]]
    """By name of the other columns, then by metric."""
    notes: tuple[str, ...] = ()

    @property
    def to_baseline(self) -> Differences:
        """The differences as the report takes them."""
        columns = [column for column in self.columns if column is not self.against]
        return Differences(
            self.against.arm.label, tuple((column.arm.label, self.differences[column.name]) for column in columns)
        )

    def write(self, out: Path) -> None:
        """Write ``compare.json`` and ``compare.md`` into ``out``, each whole or not at all."""
        runs.write_json(out / self.FILE, self.to_json())
        with runs.writing(out / "compare.md") as handle:
            handle.write(self.markdown())

    def intro(self) -> list[str]:
        """First paragraphs of the page."""
        return [
            f"{len(self.columns)} columns side by side. Differences are paired by question and taken to "
            f"{self.against.arm.label}.",
            *(f"Note: {note}." for note in self.notes),
        ]

    def to_json(self) -> dict[str, Any]:
        """The content of ``compare.json``; undefined numbers are NaN here and null in the file."""
        return {
            "made_with": runs.provenance(),
            "against": self.against.name,
            "token_budget": None if self.budget is None else asdict(self.budget),
            "notes": list(self.notes),
            "columns": [
                {
                    "name": column.name,
                    "label": column.arm.label,
                    "method": column.arm.method,
                    "k": data.k,
                    "seeds": [{"seed": run.seed, "folder": run.folder} for run in column.runs],
                    "metrics": {name: asdict(cell) for name, cell in data.metrics.items()},
                    "remarks": data.remarks,
                    "differences": {
                        name: {**asdict(d.cell), "n_pairs": d.n_pairs, "excludes_zero": d.excludes_zero}
                        for name, d in self.differences.get(column.name, {}).items()
                    },
                }
                for column, data in zip(self.columns, self.data, strict=True)
            ],
        }

    def markdown(self) -> str:
        """Tables of metrics, of K where several were trained, and of differences."""
        names = [*TABLE, *own_metrics(self.data)]
        parts = [
            "# Comparison",
            *(f"Note: {note}." for note in self.notes),
            "## Metrics",
            "Value, 95% interval, and with several seeds the smallest and largest in parentheses.",
            table_markdown([column.arm for column in self.columns], names),
            *self._of_k(),
            f"## Differences to {self.against.arm.label}",
            f"Paired by question; like seeds paired and averaged. \\{MARK}: the 95% interval excludes 0.",
            differences_markdown(self.to_baseline, names),
        ]
        return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"

    def _of_k(self) -> list[str]:
        styled = list(zip(self.data, assign_styles([data.arm.method for data in self.data]), strict=True))
        parts = []
        for method, same in of_several_k(styled).items():
            lines = ["| K | " + " | ".join(_OF_K) + " |", "|---:|" + "---:|" * len(_OF_K)]
            for data, _ in same:
                lines.append(f"| {data.k} | " + " | ".join(_cell(data, name) for name in _OF_K) + " |")
            parts += [f"## {method} by K", "\n".join(lines)]
        return parts

    def text(self) -> str:
        """The main metrics, then the differences, as tables that a terminal holds."""
        width = max(len(column.name) for column in self.columns)
        lines = []
        for names in _BLOCKS:
            rows = [
                (column.name, [_cell(data, name) for name in names])
                for column, data in zip(self.columns, self.data, strict=True)
            ]
            lines += _table("", names, rows, width)
        lines += [self.budget.words, ""] if self.budget is not None else []
        title = f"minus {self.against.name}"
        for names in _BLOCKS:
            rows = [
                (name, [write_difference(differences.get(metric), metric) for metric in names])
                for name, differences in self.differences.items()
            ]
            lines += _table(title, names, rows, max(width, len(title)))
        lines.append(f"{MARK} the 95% interval, paired by question, excludes 0")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _cell(data: ArmData, name: str) -> str:
    cell, decimals = data.cell(name), row_of(name).decimals
    return f"{write_number(cell.value, decimals)} {write_interval(cell, decimals)}".strip()


def _table(title: str, names: Sequence[str], rows: Sequence[tuple[str, list[str]]], width: int) -> list[str]:
    """Aligned lines and a blank one, without metrics that nobody has; none at all when that leaves no metric."""
    columns = [(name, *cells) for name, *cells in zip(names, *(cells for _, cells in rows), strict=True)]
    columns = [column for column in columns if any(c.isdigit() for cell in column[1:] for c in cell)]
    if not columns:
        return []
    widths = [max(map(len, column)) for column in columns]
    labels = [title, *(name for name, _ in rows)]
    return [
        *(
            f"{label:<{width}}  " + "  ".join(f"{column[i]:>{w}}" for column, w in zip(columns, widths, strict=True))
            for i, label in enumerate(labels)
        ),
        "",
    ]


def worked_examples(columns: Sequence[Column]) -> list[WorkedExample]:
    """Questions with the answers of the multi-rlcr arm and of a single-answer arm; none without such a pair.

    Multi: the first multi-rlcr arm with a single-answer arm of the same K. Single: of these the one that finds most,
    as in the headline, whether it is sampled K times or asked for K answers.
    """
    judged = [c for c in columns if not c.arm.is_remeasured and (c.arm.seeds[0] / runs.JUDGED).exists()]
    for multi in judged:
        if multi.runs[0].method != "multi-rlcr" or not multi.runs[0].is_arm:
            continue
        singles = [c.arm for c in judged if c.runs[0].method.startswith("single") and c.arm.k == multi.arm.k]
        if singles:
            single = strongest([read_arm(arm) for arm in singles]).arm
            return pick_examples(multi.arm.seeds[0], single.seeds[0], labels=("multi-rlcr", single.label))
    return []
