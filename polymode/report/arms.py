"""The arms of a report, read from run folders: metrics over seeds, curves and training rows (layer L4).

Several seeds become one number so: value = mean of the seeds' values; the interval includes what varies between
questions and what varies between seeds (`polymode.uncertainty.seeds`); smallest and largest seed are kept beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymode import runs
from polymode.errors import ConfigError
from polymode.metrics.limits import limits_of
from polymode.uncertainty import Estimate, Limits, SeedVariance, over_seeds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arm:
    """One column of the comparison: a trained method, prompted in one way, with one evaluation folder per seed."""

    label: str
    """Its name on the page, e.g. "multi-rlcr, one completion of 3"."""
    method: str
    """Training method; arms of one method share a colour."""
    seeds: tuple[Path, ...]
    """Evaluation folders, one per seed, each with metrics.json (and judged.jsonl, completions.jsonl)."""
    train: tuple[Path, ...] = ()
    """Training folders, each with metrics.jsonl; arms that share them are one training curve."""
    k: int | None = None
    """Answers per set; None takes it from the evaluation."""
    note: str = ""
    """A note for readers of the report."""
    is_remeasured: bool = False
    """Whether these are the completions of another arm with other confidences; then only figures of confidences draw
    it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one arm over its seeds; NaN where undefined."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    """Units used, added over seeds."""
    n_unscored: int = 0
    by_seed: tuple[float, ...] = ()
    """The defined values, one per seed."""
    reason: str = ""
    """Why there is no value or no interval, of the first seed that lacks it."""

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with a band, all of shape (points,)."""

    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class ArmData:
    """An arm with all its data for the report."""

    arm: Arm
    view: Mapping[str, Any]
    """`view` of the first seed, with counts added over seeds."""
    metrics: Mapping[str, Cell]
    curves: tuple[Mapping[str, Any], ...]
    """`curves` of each seed."""
    training: tuple[tuple[Mapping[str, Any], ...], ...]
    """Rows of metrics.jsonl, one tuple per training folder."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Details of the metrics that the report computes itself, or why they are undefined; by name."""

    @property
    def k(self) -> int | None:
        """Answers per set."""
        return self.arm.k if self.arm.k is not None else self.view.get("k")

    def cell(self, name: str) -> Cell:
        """The metric ``name``; an undefined cell when the evaluation does not have it."""
        return self.metrics.get(name, Cell())

    def rows(self, curve: str) -> list[Sequence[Mapping[str, Any]]]:
        """The points of a curve, one list per seed that has any."""
        return [points for points in (seed.get(curve) or () for seed in self.curves) if points]


def read_arm(arm: Arm, seeds: Sequence[runs.Metrics] | None = None) -> ArmData:
    """Read the metrics, curves and training rows of ``arm``.

    Args:
        arm: what is compared.
        seeds: its metrics, seed by seed, instead of those in its folders.

    Raises:
        ConfigError: the arm names no evaluation folder.
        RunIncompleteError: a folder lacks its metrics.
    """
    if not arm.seeds:
        raise ConfigError(f"arm {arm.label!r}: seeds is empty; give at least one evaluation folder")
    seeds = [runs.read_metrics(folder) for folder in arm.seeds] if seeds is None else seeds
    names = list(dict.fromkeys(name for one in seeds for name in one.metrics))
    return ArmData(
        arm=arm,
        view=_add_views([one.view for one in seeds]),
        metrics={
            name: combine([one.metrics.get(name, _UNDEFINED) for one in seeds], limits_of(name)) for name in names
        },
        curves=tuple(one.curves for one in seeds),
        training=tuple(tuple(runs.read_steps(folder)) for folder in arm.train),
    )


_UNDEFINED = Estimate(math.nan, math.nan, math.nan, 0)


def combine(
    seeds: Sequence[Estimate],
    limits: Limits = (-math.inf, math.inf),
    variances: Sequence[SeedVariance] | None = None,
) -> Cell:
    """One `Cell` from the metric of several seeds; arguments as for `over_seeds`.

    Undefined where some seed has no value, with the reason: seeds are refused for what they measured, such as a small
    gap, so a mean over the others would be of chosen seeds.
    """
    reason = next((one.reason for one in seeds if one.reason), "")
    n_defined = sum(math.isfinite(one.value) for one in seeds)
    value, low, high = over_seeds(seeds, limits, variances)
    if 0 < n_defined < len(seeds):
        value = low = high = math.nan
        reason = f"{n_defined} of {len(seeds)} seeds have a value" + (f": {reason}" if reason else "")
    return Cell(
        value=value,
        low=low,
        high=high,
        n=sum(one.n for one in seeds),
        n_unscored=sum(one.n_unscored for one in seeds),
        by_seed=tuple(one.value for one in seeds if math.isfinite(one.value)),
        reason=reason,
    )


def number(value: Any) -> float:
    """A float from JSON, NaN for null and for anything that is not a finite number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else math.nan


def line_over_seeds(seeds: Sequence[Sequence[Mapping[str, Any]]], x: str) -> Line | None:
    """Mean ``value`` over seeds at each ``x`` that every seed has; None without points.

    The band is the seeds' range, or with one seed its own interval (``low``, ``high``) when it has one.
    """
    tables = [{number(p.get(x)): p for p in seed if math.isfinite(number(p.get("value")))} for seed in seeds]
    tables = [table for table in tables if table]
    xs = sorted(filter(math.isfinite, set.intersection(*map(set, tables)))) if tables else []
    if not xs:
        return None
    y, low, high = (
        np.array([[number(table[at].get(name)) for at in xs] for table in tables]) for name in ("value", "low", "high")
    )
    return Line(np.array(xs), y[0], low[0], high[0]) if len(tables) == 1 else mean_line(np.array(xs), y)


def mean_line(x: FloatArray, y: FloatArray) -> Line:
    """Mean of curves of shape (seeds, points) on the same ``x``; the band is their range, undefined for one curve."""
    low, high = (y.min(axis=0), y.max(axis=0)) if len(y) > 1 else np.full((2, len(x)), math.nan)
    return Line(x, y.mean(axis=0), low, high)


def merge_bins(seeds: Sequence[Sequence[Mapping[str, Any]]], x: str, y: str) -> list[dict[str, float]]:
    """Bins of several seeds as one list of ``{low, high, count, x, y}``: counts added, means weighted by count."""
    merged: dict[tuple[float, float], list[tuple[float, float, float]]] = {}
    for entry in chain.from_iterable(seeds):
        rows = merged.setdefault((number(entry.get("low")), number(entry.get("high"))), [])
        row = (number(entry.get("count")), number(entry.get(x)), number(entry.get(y)))
        if row[0] > 0 and all(map(math.isfinite, row)):
            rows.append(row)
    bins = []
    for (low, high), rows in sorted(merged.items()):
        counts = [row[0] for row in rows]
        _, x_mean, y_mean = np.average(rows, axis=0, weights=counts).tolist() if rows else (0.0, math.nan, math.nan)
        bins.append({"low": low, "high": high, "count": sum(counts), "x": x_mean, "y": y_mean})
    return bins


def training_line(
    folders: Sequence[Sequence[Mapping[str, Any]]], x: str, y: str, smooth: Callable[[Line], Line]
) -> Line | None:
    """Smoothed training curve: mean over runs, band = their range, on the points of the shortest run.

    One run by itself has the band that ``smooth`` gives it; before, it is the interval in its rows (``y_low``,
    ``y_high``).
    """
    ends = (f"{y}_low", f"{y}_high")
    series = []
    for rows in folders:
        points = sorted(
            (at, value, *(number(row.get(end)) for end in ends))
            for row in rows
            if math.isfinite(at := number(row.get(x))) and math.isfinite(value := number(row.get(y)))
        )
        if points:
            series.append(smooth(Line(*np.array(points).T)))
    if len(series) < 2:
        return series[0] if series else None
    grid = min((line.x for line in series), key=lambda xs: float(xs[-1]))
    return mean_line(grid, np.array([np.interp(grid, line.x, line.y) for line in series]))


def finite_points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    """The points of which both coordinates are numbers, by ``x``."""
    points = ((number(row.get(x)), number(row.get(y))) for row in rows)
    return sorted(point for point in points if all(map(math.isfinite, point)))


def _add_views(views: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"k": None, "pooled": False, "has_confidence": False, "n_questions": None, **views[0]}
    for name in ("n_completions", "n_sets", "n_unscored"):
        merged[name] = sum(int(view.get(name) or 0) for view in views)
    statuses: Counter[str] = Counter()
    for view in views:
        statuses.update({status: int(count or 0) for status, count in (view.get("statuses") or {}).items()})
    merged["statuses"] = dict(statuses)
    return merged
