"""Figures of bins: calibration of answers and of sets, confidences by true answers, distinct answers (layer L4)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np

from polymode.report import charts
from polymode.report.arms import ArmData, Line, mean_line, merge_bins, number
from polymode.report.panels import Figure, Panel, Styled, curves_of, figure_of_curves


def reliability(arms: Styled) -> Figure | None:
    """Share of hits by stated confidence, one panel per arm that states any; None without data."""
    return _bin_figure(
        arms,
        Figure(
            "reliability",
            "Share of hits by stated confidence (both 0 to 1)",
            "Dashed diagonal: perfect calibration. Whiskers: 95% Wilson intervals, treating answers as independent. "
            "Bars: number of answers in each of ten bins of equal width. Where confidences are scored against a "
            "distribution, an answer counts as its mass there. An arm without confidences has no panel.",
        ),
        ("confidence", "stated confidence"),
        ("hit_rate", "share that are hits"),
        intervals=True,
    )


def expected_hits(arms: Styled) -> Figure | None:
    """Hits by sum of confidences, one panel per arm that states any; None without data."""
    return _bin_figure(
        arms,
        Figure(
            "expected-hits",
            "Hits (count) by expected hits (sum of confidences)",
            "Sets are binned by the sum of their confidences, which is the number of hits to expect. Dashed diagonal: "
            "perfect calibration. Bars: number of sets per bin.",
        ),
        ("expected", "sum of confidences in a set"),
        ("hits", "hits in the set"),
        intervals=False,
    )


def _bin_figure(
    arms: Styled, figure: Figure, x: tuple[str, str], y: tuple[str, str], *, intervals: bool
) -> Figure | None:
    """The figure with a panel per arm; ``x`` and ``y`` are a field of the curve's points and its label."""
    panels = []
    for data, style in arms:
        bins = merge_bins(data.rows(figure.id.replace("-", "_")), x[0], y[0])
        filled = [b for b in bins if b["count"] > 0]
        if not filled:
            continue
        total = sum(b["count"] for b in filled)
        gap = sum(b["count"] * abs(b["x"] - b["y"]) for b in filled) / total
        alt = (
            f"{y[1]} against {x[1]} for {data.arm.label}, with counts per bin: {len(filled)} bins with data, "
            f"{int(total):,} in all, mean distance from the diagonal {gap:.3f}."
        )
        svg = charts.bins_chart(bins, style, alt=alt, x_label=x[1], y_label=y[1], intervals=intervals)
        panels.append(Panel(svg, data.arm.label, style))
    return replace(figure, panels=tuple(panels)) if panels else None


def sum_by_n_true(arms: Styled) -> Figure | None:
    """Sum of confidences minus hits by number of true answers; None without data."""
    return figure_of_curves(
        "sum-by-n-true",
        "Sum of confidences minus hits (count) by true answers (N)",
        "Zero is calibrated. A model whose confidences sum to one however many answers are true falls below zero as N "
        "grows.",
        curves_of(arms, _excess),
        "true answers of the question, N",
        "sum of confidences \N{MINUS SIGN} hits",
        zero=False,
    )


def _excess(data: ArmData) -> Line | None:
    seeds = data.rows("sum_by_n_true")
    bins = [[{**p, "low": p.get("n_true"), "high": p.get("n_true")} for p in seed] for seed in seeds]
    points = [p for p in merge_bins(bins, "mean_sum_confidence", "mean_hits") if p["count"] > 0]
    if not points:
        return None
    x, y = np.array([[p["low"], p["x"] - p["y"]] for p in points]).T
    return mean_line(x, y[None])


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
            histograms.append((data.arm.label, style, counts))
    if not histograms:
        return None
    x_max = max(max(counts) for _, _, counts in histograms)
    y_max = max(max(counts.values()) / counts.total() for _, _, counts in histograms)
    panels = []
    for label, style, counts in histograms:
        mean = sum(value * count for value, count in counts.items()) / counts.total()
        alt = (
            f"Histogram. {label}: distinct answers among 30 per question, "
            f"from {min(counts)} to {max(counts)}, mean {mean:.1f}."
        )
        svg = charts.histogram(counts, style, alt=alt, x_label="distinct answers among 30", x_max=x_max, y_max=y_max)
        panels.append(Panel(svg, label, style))
    return Figure(
        "unique-answers",
        "Distinct answers among 30 (count) by share of questions (%)",
        "Each question is asked until 30 answers are drawn; answers equal in meaning count once. All panels share "
        "their axes. Dashed line: mean.",
        tuple(panels),
    )
