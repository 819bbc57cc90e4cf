"""The figures of the report: which data each shows, its title with axes and units, its caption (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from polymode.report import charts
from polymode.report.arm_selection import in_curves, in_reliability, with_note
from polymode.report.arms import ArmData, Line, line_over_seeds, number
from polymode.report.charts import Style
from polymode.report.figures_calibration import expected_hits, reliability, risk_coverage, sum_by_n_true
from polymode.report.figures_k import several_k
from polymode.report.figures_training import training
from polymode.report.panels import Bar, Figure, Legend, Panel, Styled
from polymode.report.table import write_interval, write_number


def build_figures(arms: Styled, reference: Mapping[str, float]) -> list[Figure]:
    """Every figure for which at least one arm has data, in reading order; `drawn` says which arms each shows."""
    drawn = in_curves(arms)
    figures = (
        with_note(_recall(drawn, reference), arms),
        _top_n(drawn),
        _unique_answers(drawn),
        reliability(in_reliability(arms)),
        expected_hits(drawn),
        sum_by_n_true(drawn),
        _cost(drawn, reference),
        several_k(arms),
        risk_coverage(drawn),
        training(drawn),
    )
    return [figure for figure in figures if figure is not None]


def _recall(arms: Styled, reference: Mapping[str, float]) -> Figure | None:
    best = reference.get("best_coverage", math.nan)
    k = next((data.k for data, _ in arms if data.arm.method.startswith("multi") and data.k), None)
    marks = [(float(k), best)] if k and math.isfinite(best) else []
    drawn = _lines(arms, "unique_references", "answers", "Distinct references found against answers drawn")
    if drawn is None:
        return None
    lines, legend, alt = drawn
    svg = charts.line_chart(
        lines, alt=alt, x_label="answers drawn in total, k", y_label="distinct references found", marks=marks
    )
    caption = "Mean number of distinct references found among k answers to one question, over all questions."
    if marks:
        caption += f" Diamond: the best possible with {k} answers, {write_number(best, 2)}."
    return Figure(
        "recall", "References found (count) by answers drawn (k)", caption + _band(arms), (Panel(svg),), legend
    )


def _top_n(arms: Styled) -> Figure | None:
    drawn = _lines(arms, "coverage_at", "n", "References found among the top n answers of a set, against n")
    if drawn is None or max(len(line.x) for line, _ in drawn[0]) < 2:
        return None
    lines, legend, alt = drawn
    svg = charts.line_chart(lines, alt=alt, x_label="top n answers of a set", y_label="references found in top n")
    caption = "Coverage@n: hits among the first n answers of a set (most confident first where confidences are stated)."
    return Figure("coverage-at", "Coverage@n (count) by n", caption + _band(arms), (Panel(svg),), legend)


def _lines(arms: Styled, curve: str, x: str, subject: str) -> tuple[list[tuple[Line, Style]], Legend, str] | None:
    found = [(data, style, line_over_seeds(data.rows(curve), x)) for data, style in arms]
    kept = [(data, style, line) for data, style, line in found if line is not None]
    if not kept:
        return None
    ends = "; ".join(f"{d.arm.label}: {write_number(float(li.y[-1]), 2)} at {li.x[-1]:g}" for d, _, li in kept)
    legend = tuple((data.arm.label, style) for data, style, _ in kept)
    return [(line, style) for _, style, line in kept], legend, f"Line chart. {subject}. Last points: {ends}."


def _band(arms: Styled) -> str:
    if any(len(data.curves) > 1 for data, _ in arms):
        return " Line: mean over seeds. Band: smallest to largest seed; 95% interval where there is one seed."
    return " Band: 95% interval, bootstrap clustered by question."


def _unique_answers(arms: Styled) -> Figure | None:
    merged: list[tuple[ArmData, Style, dict[int, float]]] = []
    for data, style in arms:
        counts: dict[int, float] = {}
        for entry in (entry for seed in data.rows("unique_answers_histogram") for entry in seed):
            value, questions = number(entry.get("unique")), number(entry.get("questions"))
            if math.isfinite(value) and questions > 0:
                counts[int(value)] = counts.get(int(value), 0.0) + questions
        if counts:
            merged.append((data, style, counts))
    if not merged:
        return None
    x_max = max(max(counts) for _, _, counts in merged)
    y_max = max(max(counts.values()) / sum(counts.values()) for _, _, counts in merged)
    panels = []
    for data, style, counts in merged:
        mean = sum(v * c for v, c in counts.items()) / sum(counts.values())
        alt = (
            f"Histogram. {data.arm.label}: distinct answers among 30 per question, "
            f"from {min(counts)} to {max(counts)}, mean {mean:.1f}."
        )
        svg = charts.histogram(counts, style, alt=alt, x_label="distinct answers among 30", x_max=x_max, y_max=y_max)
        panels.append(Panel(svg, data.arm.label, style))
    return Figure(
        "unique-answers",
        "Distinct answers among 30 (count) by share of questions (%)",
        "Each question is asked until 30 answers are drawn; answers equal in meaning count once. All panels share "
        "their axes. Dashed line: mean.",
        tuple(panels),
    )


def _cost(arms: Styled, reference: Mapping[str, float]) -> Figure | None:
    points, legend, ends = [], [], []
    for data, style in arms:
        tokens, coverage = data.cell("tokens_per_set"), data.cell("coverage")
        if tokens.is_defined and coverage.is_defined:
            points.append((tokens, coverage, style))
            legend.append((data.arm.label, style))
            ends.append(f"{data.arm.label}: {tokens.value:.1f} tokens, coverage {coverage.value:.2f}")
    bars = _token_bars(arms)
    if not points and not bars:
        return None
    panels = []
    best = reference.get("best_coverage", math.nan)
    if points:
        svg = charts.scatter(
            points,
            alt="Scatter plot. Coverage against tokens per set: " + "; ".join(ends) + ".",
            x_label="tokens per set",
            y_label="distinct references found per set",
            level=best,
        )
        panels.append(Panel(svg, "Coverage (count) by tokens per set"))
    caption = "Up and to the left is better. Whiskers: 95% intervals."
    if points and math.isfinite(best):
        caption += f" Dotted line: the best possible coverage, {write_number(best, 2)}."
    return Figure("cost", "Cost of a reference found (generated tokens)", caption, tuple(panels), tuple(legend), bars)


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
