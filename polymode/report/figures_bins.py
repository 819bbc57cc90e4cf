"""Figures of bins: calibration of answers and of sets, confidences by true answers, distinct answers (layer L4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from polymode.metrics.diversity import N_UNIQUE
from polymode.report import charts
from polymode.report.arms import ArmData, FloatArray, Line, merge_bins, number
from polymode.report.panels import Figure, Panel, Styled, curves_of, figure_of_curves
from polymode.uncertainty import Estimate, over_seeds


def reliability(arms: Styled) -> Figure | None:
    """Share of hits by stated confidence, one panel per arm that states any; None without data."""
    return _bin_figure(
        arms,
        Figure(
            "reliability",
            "Share of hits by stated confidence (both 0 to 1)",
            "Dashed diagonal: perfect calibration. Whiskers: 95% Wilson intervals, treating answers as independent. "
            "Steps: the rising curve that fits the answers best, without bins (isotonic). Bars: number of answers in "
            "each of ten bins of equal width. Where confidences are scored against a distribution, an answer counts as "
            "its mass there. An arm without confidences has no panel.",
        ),
        ("confidence", "stated confidence"),
        ("hit_rate", "share that are hits"),
        _wilson_reach,
    )


def expected_hits(arms: Styled) -> Figure | None:
    """Hits by sum of confidences, one panel per arm that states any; None without data."""
    return _bin_figure(
        arms,
        Figure(
            "expected-hits",
            "Hits (count) by expected hits (sum of confidences)",
            "Sets are binned by the sum of their confidences, which is the number of hits to expect. Dashed diagonal: "
            "perfect calibration. Whiskers: 95% intervals over questions, and over seeds where there are several. "
            "Bars: number of sets per bin.",
        ),
        ("expected", "sum of confidences in a set"),
        ("hits", "hits in the set"),
        _reach_over_seeds,
    )


Seeds = Sequence[Sequence[Mapping[str, Any]]]
Reach = Callable[[Mapping[str, float], Seeds], tuple[float, float]]
"""How far below and above its value the interval of a bin reaches, from the merged bin and the points of each seed."""


def _wilson_reach(merged: Mapping[str, float], _seeds: Seeds) -> tuple[float, float]:
    if not merged["count"]:
        return math.nan, math.nan
    low, high = charts.wilson(merged["y"], merged["count"])
    return merged["y"] - low, high - merged["y"]


def _reach_over_seeds(merged: Mapping[str, float], seeds: Seeds) -> tuple[float, float]:
    """That of the mean over seeds, from the interval of each; none in older files."""
    own = [p for p in chain.from_iterable(seeds) if number(p.get("low")) == merged["low"]]
    hits, lows, highs = ([number(p.get(name)) for p in own] for name in ("hits", "hits_low", "hits_high"))
    estimates = [Estimate(*one, 1) for one in zip(hits, lows, highs, strict=True)]
    value, low, high = over_seeds(estimates, (0.0, math.inf))
    return value - low, high - value


def _bin_figure(arms: Styled, figure: Figure, x: tuple[str, str], y: tuple[str, str], reach: Reach) -> Figure | None:
    """The figure with a panel per arm; ``x`` and ``y`` are a field of the curve's points and its label."""
    panels = []
    for data, style in arms:
        seeds = data.rows(figure.id.replace("-", "_"))
        bins = merge_bins(seeds, x[0], y[0])
        for one in bins:
            below, above = reach(one, seeds)
            one |= {"y_low": one["y"] - below, "y_high": one["y"] + above}
        filled = [b for b in bins if b["count"] > 0]
        if not filled:
            continue
        total = sum(b["count"] for b in filled)
        gap = sum(b["count"] * abs(b["x"] - b["y"]) for b in filled) / total
        alt = (
            f"{y[1]} against {x[1]} for {data.arm.label}, with counts per bin: {len(filled)} bins with data, "
            f"{int(total):,} in all, mean distance from the diagonal {gap:.3f}."
        )
        steps = _steps(data, f"{figure.id}_isotonic", x[0], y[0])
        svg = charts.bins_chart(bins, style, alt=alt, x_label=x[1], y_label=y[1], steps=steps)
        panels.append(Panel(svg, data.arm.label, style))
    return replace(figure, panels=tuple(panels)) if panels else None


def _steps(data: ArmData, curve: str, x: str, y: str) -> FloatArray:
    """Points (steps, 2) of the isotonic curve; steps of several seeds that do not rise are joined again."""
    names = (x, y, "count")
    rows = [[number(p.get(name)) for name in names] for p in chain.from_iterable(data.rows(curve))]
    x_S, y_S, count_S = np.array(sorted(rows), dtype=float).reshape(-1, 3).T
    if len(data.rows(curve)) < 2:
        return np.column_stack([x_S, y_S])
    fitted: Any = isotonic_regression(y_S, weights=count_S)
    start = fitted.blocks[:-1]
    count, x_sum, y_sum = (np.add.reduceat(a_S, start) for a_S in (count_S, count_S * x_S, count_S * y_S))
    return np.column_stack([x_sum / count, y_sum / count])


def sum_by_n_true(arms: Styled) -> Figure | None:
    """Sum of confidences minus hits by number of true answers; None without data."""
    return figure_of_curves(
        "sum-by-n-true",
        "Sum of confidences minus hits (count) by true answers (N)",
        "Zero is calibrated. A model whose confidences sum to one however many answers are true falls below zero as N "
        f"grows. Band: 95% interval over questions, and over seeds where there are several. {_counts_by_n(arms)}",
        curves_of(arms, _excess),
        "true answers of the question, N",
        "sum of confidences \N{MINUS SIGN} hits",
        zero=False,
    )


def _excess(data: ArmData) -> Line | None:
    by_n: dict[float, list[Estimate]] = {}
    for p in chain.from_iterable(data.rows("sum_by_n_true")):
        value = number(p.get("mean_sum_confidence")) - number(p.get("mean_hits"))
        if math.isfinite(value):
            low, high = number(p.get("low")), number(p.get("high"))  # none in older files
            by_n.setdefault(number(p.get("n_true")), []).append(Estimate(value, low, high, int(p["count"])))
    if not by_n:
        return None
    xs = sorted(by_n)
    y, low, high = np.array([over_seeds(by_n[x], (-math.inf, math.inf)) for x in xs]).T
    return Line(np.array(xs), y, low, high)


def _counts_by_n(arms: Styled) -> str:
    """How many questions each point is of, which all arms share; else nothing."""
    seeds = [seed for data, _ in arms for seed in data.rows("sum_by_n_true")]
    counts = [{p.get("n_true"): p.get("questions") for p in seed if p.get("questions")} for seed in seeds]
    most = max(counts, key=len, default={})
    return f"Questions: {', '.join(f'{n:,} with N = {n_true}' for n_true, n in most.items())}." if most else ""


def unique_answers(arms: Styled) -> Figure | None:
    """Distinct answers among 30 by share of questions, one panel per arm; None without data."""
    histograms = []
    for data, style in arms:
        counts: Counter[int] = Counter()
        for entry in chain.from_iterable(data.rows("unique_answers_histogram")):
            value, questions = number(entry.get("unique")), number(entry.get("questions"))
            if math.isfinite(value) and questions > 0:
                counts[int(value)] += int(questions)
        if counts:
            mean, n_seeds = data.cell(f"unique_answers@{N_UNIQUE}"), len(data.rows("unique_answers_histogram"))
            histograms.append((data.arm.label, style, counts, counts.total() / n_seeds, mean))
    if not histograms:
        return None
    x_max = max(max(counts) for _, _, counts, *_ in histograms)
    panels = []
    tops = [charts.wilson(max(counts.values()) / counts.total(), n)[1] for _, _, counts, n, _ in histograms]
    for label, style, counts, n, cell in histograms:
        mean = f"mean {sum(value * count for value, count in counts.items()) / counts.total():.1f}"
        if math.isfinite(cell.low) and math.isfinite(cell.high):
            mean += f" [{cell.low:.1f}, {cell.high:.1f}]"
        alt = (
            f"Histogram. {label}: distinct answers among 30 per question, from {min(counts)} to {max(counts)}, {mean}."
        )
        svg = charts.histogram(
            counts, style, alt=alt, x_label="distinct answers among 30", x_max=x_max, y_max=max(tops), n=n, mean=mean
        )
        panels.append(Panel(svg, label, style))
    return Figure(
        "unique-answers",
        "Distinct answers among 30 (count) by share of questions (%)",
        "Each question is asked until 30 answers are drawn; answers equal in meaning count once. All panels share "
        "their axes. Whiskers: 95% Wilson intervals, for the questions of one seed. Dashed line: mean, with its "
        "interval over questions, and over seeds where there are several.",
        tuple(panels),
    )
