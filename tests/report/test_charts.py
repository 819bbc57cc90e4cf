import math
import re

import numpy as np
import pytest

from polymode.report import charts
from polymode.report.arms import Cell, Line
from polymode.report.charts import COLOURS, assign_styles, compact, wilson


def a_line() -> Line:
    return Line(np.array([3.0, 6.0]), np.array([1.0, 2.0]), np.array([0.9, math.nan]), np.array([1.1, math.nan]))


def draw(alt: str = "A chart", **options) -> str:
    style = assign_styles(["multi-rlcr"])[0]
    return str(charts.line_chart([(a_line(), style)], alt=alt, x_label="answers", y_label="found", **options))


def test_svg_is_inline_named_and_free_of_addresses_and_fixed_colours():
    svg = draw(alt='say "hi" <b>', marks=[(3.0, 2.5)])
    assert svg.startswith('<svg class="chart"') and svg.rstrip().endswith("</svg>")
    assert 'aria-label="say &#34;hi&#34; &lt;b&gt;"' in svg
    assert "http" not in svg and "xmlns" not in svg and "metadata" not in svg
    assert "var(--multi-rlcr)" in svg and "var(--ink)" in svg
    assert not any(light in svg for light, _ in COLOURS.values())
    assert re.search(r"<text[^>]*>answers</text>", svg)  # text stays text


def test_every_reference_inside_the_svg_has_its_target():
    svg = draw()
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert wanted and wanted <= set(re.findall(r' id="([^"]+)"', svg))


def test_drawing_twice_gives_the_same_bytes():
    assert draw() == draw()


def test_arms_of_a_method_share_a_colour_and_differ_in_marker_and_dash():
    styles = assign_styles(["single-rlvr", "multi-rlcr", "single-rlvr", "warm start", "base"])
    assert [s.colour for s in styles] == ["single-rlvr", "multi-rlcr", "single-rlvr", "other-1", "other-2"]
    assert styles[0].marker != styles[2].marker and styles[0].dash != styles[2].dash
    assert styles[0].marker != styles[1].marker


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", [name for name in COLOURS if name not in ("grid", "card")])
def test_colours_stand_out_from_the_card(name, page):
    # WCAG 2.1: 3:1 for graphics, 4.5:1 for text
    lights = sorted((luminance(COLOURS[name][page]), luminance(COLOURS["card"][page])))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= (4.5 if name in ("ink", "muted") else 3.0)


def test_wilson_interval_against_a_worked_value():
    # 8 of 10, z = 1.96: centre (0.8 + 0.19207) / 1.38415 = 0.71674, half 0.22659
    assert wilson(0.8, 10) == pytest.approx((0.49016, 0.94333), abs=1e-4)
    assert wilson(0.0, 5)[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (950, "950"), (1200, "1.2k"), (15_000, "15k"), (2e6, "2M")])
def test_compact_counts(value, text):
    assert compact(value) == text


def test_scatter_and_bins_take_missing_intervals_and_empty_bins():
    style = assign_styles(["multi-rlvr"])[0]
    cell = Cell(2.0)
    assert "<svg" in charts.scatter([(cell, Cell(1.0, 0.9, 1.1), style)], alt="a", x_label="x", y_label="y")
    bins = [
        {"low": 0.0, "high": 0.5, "count": 4.0, "x": 0.2, "y": 0.3, "y_low": math.nan, "y_high": math.nan},
        {"low": 0.5, "high": 1.0, "count": 0.0, "x": math.nan, "y": math.nan, "y_low": math.nan, "y_high": math.nan},
    ]
    assert "<svg" in charts.bins_chart(bins, style, alt="a", x_label="x", y_label="y")
