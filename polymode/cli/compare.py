"""`polymode compare`: runs side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from polymode.cli.checks import need_packages
from polymode.cli.options import MeasureOptions


@dataclass(frozen=True)
class Compare(MeasureOptions):
    """Compare runs side by side: OUT/report.html, compare.md and compare.json.

    A run is a folder with completions.jsonl and metrics.json, or the folder of a training run or experiment that
    contains some; seeds of one method share a column. Differences are paired by question. Completions are never
    generated again.

    Examples:
        # two runs over the same questions
        polymode compare runs/mine/test runs/base --out runs/compare
        # all runs of an experiment, relative to one method
        polymode compare runs/lab/clinic --out runs/compare --against single-rlcr
        # both judged by the same verifier
        polymode compare runs/a runs/b --out runs/compare --verifier symbolic
    """

    runs: tuple[Path, ...]
    """Run folders to compare."""
    _: KW_ONLY
    out: Path
    """Folder for the comparison; an earlier comparison in it is replaced."""
    against: str | None = None
    """Baseline column; by default the samples of single-rlvr, else the first column."""


def compare(options: Compare, args: Sequence[str]) -> int:
    """Print and write the comparison of several runs."""
    named = options.open_verifier()
    need_packages("report")
    from polymode import runs
    from polymode.compare.compare import compare_runs

    comparison = compare_runs(
        options.runs,
        options.out,
        against=options.against,
        n_boot=options.n_boot,
        verifier=named,
        metrics=options.metrics,
        command=shlex.join(["polymode", "compare", *args]),
    )
    print(comparison.text())
    print(f"report: {options.out / runs.REPORT}")
    return 0
