"""Figures about confidences: calibration of answers, calibration of sets, ranking (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from polymode.report import charts
from polymode.report.arms import Line, line_over_seeds, merge_bins, number
from polymode.report.panels import Figure, Panel, Styled
from polymode.report.table import write_number


def reliability(arms: Styled) -> Figure | None:
    """Share of hits by stated confidence, one panel per arm that states any; None without data."""
    panels = _bin_panels(
        arms, "reliability", "confidence", "hit_rate", "stated confidence", "share that are hits", intervals=True
    )
    if not panels:
        return None
    caption = (
        "Dashed diagonal: perfect calibration. Whiskers: 95% Wilson intervals, treating answers as independent. Bars: "
        "number of answers in each of ten bins of equal width. An arm without confidences has no panel."
    )
    return Figure("reliability", "Share of hits by stated confidence (both 0 to 1)", caption, panels)


def expected_hits(arms: Styled) -> Figure | None:
    """Hits by sum of confidences, one panel per arm that states any; None without data."""
    panels = _bin_panels(
        arms, "expected_hits", "expected", "hits", "sum of confidences in a set", "hits in the set", intervals=False
    )
    if not panels:
        return None
    caption = (
        "Sets are binned by the sum of their confidences, which is the number of hits to expect. Dashed diagonal: "
        "perfect calibration. Bars: number of sets per bin."
    )
    return Figure("expected-hits", "Hits (count) by expected hits (sum of confidences)", caption, panels)


def _bin_panels(
    arms: Styled, curve: str, x: str, y: str, x_label: str, y_label: str, *, intervals: bool
) -> tuple[Panel, ...]:
    panels = []
    for data, style in arms:
        bins = merge_bins(data.rows(curve), x, y)
        filled = [b for b in bins if b["count"] > 0]
        if not filled:
            continue
        gap = sum(b["count"] * abs(b["x"] - b["y"]) for b in filled) / sum(b["count"] for b in filled)
        alt = (
            f"{y_label} against {x_label} for {data.arm.label}, with counts per bin: {len(filled)} bins with data, "
            f"{int(sum(b['count'] for b in filled)):,} in all, mean distance from the diagonal {gap:.3f}."
        )
        svg = charts.bins_chart(bins, style, alt=alt, x_label=x_label, y_label=y_label, intervals=intervals)
        panels.append(Panel(svg, data.arm.label, style))
    return tuple(panels)


def sum_by_n_true(arms: Styled) -> Figure | None:
    """Sum of confidences minus hits by number of true answers; None without data."""
    lines, legend, ends = [], [], []
    for data, style in arms:
        seeds = data.rows("sum_by_n_true")
        bins = [[{**p, "low": p.get("n_true"), "high": p.get("n_true")} for p in seed] for seed in seeds]
        points = merge_bins(bins, "mean_sum_confidence", "mean_hits")
        points = [p for p in points if p["count"] > 0]
        if points:
            gap = np.array([p["x"] - p["y"] for p in points])
            undefined = np.full(len(points), math.nan)
            lines.append((Line(np.array([p["low"] for p in points]), gap, undefined, undefined), style))
            legend.append((data.arm.label, style))
            ends.append(f"{data.arm.label}: {write_number(float(gap[0]), 2)} to {write_number(float(gap[-1]), 2)}")
    if not lines:
        return None
    svg = charts.line_chart(
        lines,
        alt="Line chart. Sum of confidences minus hits, by number of true answers, first to last: " + "; ".join(ends),
        x_label="true answers of the question, N",
        y_label="sum of confidences \N{MINUS SIGN} hits",
        zero=False,
    )
    caption = (
        "Zero is calibrated. A model whose confidences sum to one however many answers are true falls below zero as N "
        "grows."
    )
    title = "Sum of confidences minus hits (count) by true answers (N)"
    return Figure("sum-by-n-true", title, caption, (Panel(svg),), tuple(legend))


def risk_coverage(arms: Styled) -> Figure | None:
    """Share wrong among the answered, by share answered; None without data."""
    lines, legend, ends = [], [], []
    for data, style in arms:
        seeds = data.rows("risk_coverage")
        grid = [{"coverage": at, "risk": _at(seed, at)} for seed in seeds[:1] for at in np.linspace(0.05, 1, 39)]
        curves = [[{**p, "risk": _at(seed, p["coverage"])} for p in grid] for seed in seeds]
        line = line_over_seeds(curves, "coverage", "risk")
        if line is not None:
            lines.append((line, style))
            legend.append((data.arm.label, style))
            ends.append(f"{data.arm.label}: {line.y[0]:.2f} to {line.y[-1]:.2f}")
    if not lines:
        return None
    svg = charts.line_chart(
        lines,
        alt="Line chart. Share of wrong answers among the answered, as more are answered: " + "; ".join(ends) + ".",
        x_label="share of sets answered",
        y_label="risk: share wrong",
    )
    caption = (
        "Only the most confident answer of each set counts; the least confident sets are withheld first. A curve that "
        "rises from the left shows confidences that rank well."
    )
    title = "Risk (share wrong) by share answered"
    return Figure("risk-coverage", title, caption, (Panel(svg),), tuple(legend))


def _at(points: Sequence[Mapping[str, object]], coverage: float) -> float:
    pairs = sorted((number(p.get("coverage")), number(p.get("risk"))) for p in points)
    pairs = [pair for pair in pairs if all(math.isfinite(v) for v in pair)]
    if not pairs:
        return math.nan
    xs, ys = np.array(pairs).T
    return float(np.interp(coverage, xs, ys))
