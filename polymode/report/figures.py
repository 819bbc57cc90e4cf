"""The figures of the report: which data each shows, its title with axes and units, its caption (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from polymode.report import charts
from polymode.report.arm_selection import in_curves, in_reliability, of_several_k, with_note
from polymode.report.arms import ArmData, Line, finite_points, line_over_seeds, mean_line, number
from polymode.report.figures_bins import expected_hits, reliability, sum_by_n_true, unique_answers
from polymode.report.figures_training import training_figures
from polymode.report.panels import Bar, Figure, Panel, Styled, curves_of, draw_curves, figure_of_curves
from polymode.report.table import write_interval, write_number


def build_figures(arms: Styled, reference: Mapping[str, float]) -> list[Figure]:
    """Every figure for which at least one arm has data, in reading order; `arm_selection` says which arms it draws."""
    drawn = in_curves(arms)
    best = reference.get("best_coverage", math.nan)
    figures = (
        with_note(_recall(drawn, best), arms),
        _top_n(drawn),
        unique_answers(drawn),
        reliability(in_reliability(arms)),
        expected_hits(drawn),
        sum_by_n_true(drawn),
        _cost(drawn, best),
        _several_k(of_several_k(arms)),
        _risk_coverage(drawn),
        *training_figures(drawn),
    )
    return [figure for figure in figures if figure is not None]


def _recall(arms: Styled, best: float) -> Figure | None:
    k = next((data.k for data, _ in arms if data.arm.method.startswith("multi") and data.k), None)
    marks = [(float(k), best)] if k and math.isfinite(best) else []
    caption = "Mean number of distinct references found among k answers to one question, over all questions."
    if marks:
        caption += f" Diamond: the best possible with {k} answers, {write_number(best, 2)}."
    return figure_of_curves(
        "recall",
        "References found (count) by answers drawn (k)",
        caption + _band(arms),
        curves_of(arms, lambda data: line_over_seeds(data.rows("unique_references"), "answers")),
        "answers drawn in total, k",
        "distinct references found",
        marks=marks,
    )


def _top_n(arms: Styled) -> Figure | None:
    curves = curves_of(arms, lambda data: line_over_seeds(data.rows("coverage_at"), "n"))
    caption = "Coverage@n: hits among the first n answers of a set (most confident first where confidences are stated)."
    return figure_of_curves(
        "coverage-at",
        "Coverage@n (count) by n",
        caption + _band(arms),
        curves if any(len(line.x) > 1 for _, _, line in curves) else (),
        "top answers of a set, n",
        "references found in top n",
    )


def _band(arms: Styled) -> str:
    if any(len(data.curves) > 1 for data, _ in arms):
        return " Line: mean over seeds. Band: smallest to largest seed; 95% interval where there is one seed."
    return " Band: 95% interval, bootstrap clustered by question."


def _risk_coverage(arms: Styled) -> Figure | None:
    return figure_of_curves(
        "risk-coverage",
        "Risk (share wrong) by share answered",
        "Only the most confident answer of each set counts; the least confident sets are withheld first. A curve that "
        "rises from the left shows confidences that rank well. Band: 95% Wilson interval of the share at each point, "
        "with as many outcomes as there are questions; with several seeds, their range.",
        curves_of(arms, _risk),
        "share of sets answered",
        "risk: share wrong",
    )


def _risk(data: ArmData) -> Line | None:
    grid = np.linspace(0.05, 1, 39)
    points = [finite_points(rows, "coverage", "risk") for rows in data.rows("risk_coverage")]
    curves = [np.interp(grid, *np.array(own).T) for own in points if own]
    if len(curves) != 1:
        return mean_line(grid, np.array(curves)) if curves else None
    n = number(data.view.get("n_questions"))
    ends = [
        charts.wilson(risk, max(share * n, 1)) if n > 0 else (math.nan, math.nan)
        for share, risk in zip(grid, curves[0], strict=True)
    ]
    return Line(grid, curves[0], *np.array(ends).T)


def _several_k(groups: Mapping[str, Styled]) -> Figure | None:
    """Coverage, its distance to the best possible, and tokens by K, for methods that were trained with several K."""
    marks = [(float(data.k or 0), data.cell("best_coverage").value) for same in groups.values() for data, _ in same]
    marks = [(k, best) for k, best in marks if math.isfinite(best)]
    panels = []
    for name, heading, unit in (
        ("coverage", "References found", "distinct references found per set"),
        ("coverage_of_best", "Share of the best possible", "coverage / best possible"),
        ("tokens_per_reference", "Tokens per reference found", "tokens per reference found"),
    ):
        curves = []
        for method, same in groups.items():
            cells = [(data.k, data.cell(name)) for data, _ in same if data.cell(name).is_defined]
            if len(cells) > 1:
                columns = np.array([[k, cell.value, cell.low, cell.high] for k, cell in cells], dtype=float).T
                curves.append((method, same[0][1], Line(*columns)))
        if curves:
            best = marks if name == "coverage" else ()
            panels.append(draw_curves(curves, "answers requested, K", unit, heading, marks=best, narrow=True))
    if not panels:
        return None
    caption = "Each point is a model trained for its own K. Band: 95% intervals."
    caption += " Diamonds: the best possible with K answers." if marks else ""
    legend = tuple((method, same[0][1]) for method, same in groups.items())
    return Figure("k", "References found and tokens (counts) by answers requested (K)", caption, tuple(panels), legend)


def _cost(arms: Styled, best: float) -> Figure | None:
    points = [(data, style, data.cell("tokens_per_set"), data.cell("coverage")) for data, style in arms]
    points = [point for point in points if point[2].is_defined and point[3].is_defined]
    bars = _token_bars(arms)
    if not points and not bars:
        return None
    caption = "Up and to the left is better. Whiskers: 95% intervals."
    panels = []
    if points:
        ends = [f"{data.arm.label}: {x.value:.1f} tokens, coverage {y.value:.2f}" for data, _, x, y in points]
        svg = charts.scatter(
            [(x, y, style) for _, style, x, y in points],
            alt=f"Scatter plot. Coverage against tokens per set: {'; '.join(ends)}.",
            x_label="tokens per set",
            y_label="distinct references found per set",
            level=best,
        )
        panels.append(Panel(svg, "Coverage (count) by tokens per set"))
        if math.isfinite(best):
            caption += f" Dotted line: the best possible coverage, {write_number(best, 2)}."
    legend = tuple((data.arm.label, style) for data, style, *_ in points)
    return Figure("cost", "Cost of a reference found (generated tokens)", caption, tuple(panels), legend, bars)


def _token_bars(arms: Styled) -> tuple[Bar, ...]:
    cells = [(data, style, data.cell("tokens_per_reference")) for data, style in arms]
    cells = [(data, style, cell) for data, style, cell in cells if cell.is_defined]
    longest = max((v for _, _, c in cells for v in (c.value, c.high) if math.isfinite(v)), default=0.0)
    if longest <= 0:
        return ()
    return tuple(
        Bar(
            data.arm.label, style, write_number(cell.value, 1), write_interval(cell, 1),
            cell.value / longest, cell.low / longest, cell.high / longest,
        )
        for data, style, cell in cells
    )  # fmt: skip
