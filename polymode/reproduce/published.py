"""The paper's own numbers (arXiv 2603.24844), to stand beside ours where the model is the paper's: Qwen3-8B.

Its numeric tables are not known to us; these were read off the figures of https://multi-answer-rl.github.io by eye,
within about 0.01 (counts 0.1). Its reference sets of DDXPlus are cut from the differential in a way that is not
documented, so equal numbers are not to be expected; ratios between the arms are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from polymode import runs
from polymode.reproduce.plans import Plan

_MODEL = "qwen3-8b"
_MULTI, _SINGLE = ("multi-rlvr", "set"), ("single-rlvr", "samples")
_K = 3


class Published(NamedTuple):
    """One number of the paper."""

    metric: str
    arm: tuple[str, str]
    """Method and view."""
    value: float


class Row(NamedTuple):
    """One number of the paper beside ours."""

    metric: str
    arm: str
    ours: str
    """With its interval where there is one."""
    paper: float


NUMBERS: dict[str, Sequence[Published]] = {
    "ddxplus": (
        Published("coverage", _MULTI, 0.80),
        Published("coverage", _SINGLE, 0.63),
        Published("unique_references@30", _MULTI, 1.216),
        Published("unique_references@30", _SINGLE, 0.812),
        Published("unique_answers@30", _MULTI, 8.9),
        Published("unique_answers@30", _SINGLE, 3.9),
        Published("overlap_3gram", _SINGLE, 0.199),
        Published("overlap_4gram", _SINGLE, 0.157),
        Published("overlap_jaccard", _SINGLE, 0.152),
        Published("overlap_rouge_l", _SINGLE, 0.424),
    )
}


def is_papers_model(model: str) -> bool:
    """Whether a name or folder is that of the paper's model."""
    return Path(model).name.lower() == _MODEL


def beside_the_paper(plan: Plan, root: Path) -> list[Row]:
    """The paper's numbers on the plan's task beside those of the finished arms; none for another model, task or K."""
    if plan.k != _K or not is_papers_model(str(plan.arms[0].recipe.model)):
        return []
    rows = []
    for metric, (method, view), paper in NUMBERS.get(plan.task, ()):
        for arm in plan.arms:
            folder = root / arm.folder / view
            if arm.recipe.method == method and arm.supervised is None and (folder / runs.METRICS).exists():
                ours = _measured(runs.read_metrics(folder), metric)
                rows.append(Row(metric, f"{method}, seed {arm.recipe.seed}", ours, paper))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table; empty without any."""
    if not rows:
        return ""
    lines = ["| metric | arm | here | paper, read off its figures |", "|---|---|---:|---:|"]
    lines += [f"| {row.metric} | {row.arm} | {row.ours} | {row.paper:g} |" for row in rows]
    return "\n".join(["", *lines, ""])


def _measured(stored: runs.Metrics, metric: str) -> str:
    name, _, k = metric.partition("@")
    if metric in stored.metrics:
        one = stored.metrics[metric]
        value, low, high = one.value, one.low, one.high
    else:
        points = [point for point in stored.curves.get(name) or () if str(point.get("answers")) == k]
        value, low, high = (
            (points[0].get(end, math.nan) for end in ("value", "low", "high")) if points else [math.nan] * 3
        )
    if value is None or math.isnan(value):
        return "undefined"
    return f"{value:.3g}" + (f" [{low:.3g}, {high:.3g}]" if low is not None and math.isfinite(low) else "")
