"""Charts as inline SVG: one small panel per call, drawn from plain arrays (layer L4).

Panels are narrow so that their text stays readable on a phone, hold no text from a model or a user, and carry CSS
variables instead of colours so that one drawing serves the light page, the dark page and paper.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from polymode.errors import MissingExtraError
from polymode.report.arms import Cell, FloatArray, Line

try:
    from markupsafe import Markup, escape
except ImportError:  # comes with Jinja2
    raise MissingExtraError("jinja2", "report", "writing the report") from None

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

COLOURS: Mapping[str, tuple[str, str]] = {
    # name: (light page, dark page). Okabe-Ito hues, darkened or lightened to at least 3:1 against the page.
    "ink": ("#1b2027", "#e8eaee"),
    "muted": ("#59626e", "#a4adba"),
    "grid": ("#e1e5ea", "#343b45"),
    "card": ("#fefefe", "#1b2028"),
    "multi-rlcr": ("#0072b2", "#5db7ee"),
    "multi-rlvr": ("#00896b", "#35cba3"),
    "single-rlcr": ("#a3498f", "#e193d2"),
    "single-rlvr": ("#cc5500", "#ff9a57"),
    "other-1": ("#6b6f76", "#b4b9c1"),
    "other-2": ("#8a6d00", "#e3c34a"),
    "other-3": ("#7a4a2b", "#d3a27f"),
    "other-4": ("#5546b4", "#aaa0f2"),
}
_METHODS = ("multi-rlcr", "multi-rlvr", "single-rlcr", "single-rlvr")
_MARKERS = {
    # matplotlib's marker: the same shape as a path, for legends
    "o": "M13 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M13.4 2.4h7.2v7.2h-7.2z",
    "^": "M17 1.4l4.6 8.6h-9.2z",
    "D": "M17 1l5 5-5 5-5-5z",
    "v": "M17 10.6l4.6-8.6h-9.2z",
    "P": "M15.4 1.6h3.2v2.8h2.8v3.2h-2.8v2.8h-3.2v-2.8h-2.8v-3.2h2.8z",
}
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5))
_WIDE, _NARROW = 4.3, 3.5
"""Inches. Narrow panels are placed side by side; both are scaled to the page, so fewer inches mean larger text."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Style:
    """The style of an arm in every figure: never colour alone."""

    colour: str
    """Name in COLOURS."""
    marker: str
    dash: tuple[float, ...]


def assign_styles(methods: Sequence[str]) -> list[Style]:
    """A style per arm: the colour shows the method, marker and dash distinguish its arms."""
    others = list(dict.fromkeys(method for method in methods if method not in _METHODS))
    n_arms: Counter[str] = Counter()
    styles = []
    for method in methods:
        place = _METHODS.index(method) if method in _METHODS else others.index(method) + 1
        colour = method if method in _METHODS else f"other-{(place - 1) % 4 + 1}"
        marker = list(_MARKERS)[(place + n_arms[method]) % len(_MARKERS)]
        styles.append(Style(colour, marker, _DASHES[n_arms[method] % len(_DASHES)]))
        n_arms[method] += 1
    return styles


def line_chart(
    lines: Sequence[tuple[Line, Style]],
    *,
    alt: str,
    x_label: str,
    y_label: str,
    marks: Sequence[tuple[float, float]] = (),
    markers: bool = True,
    zero: bool = True,
    narrow: bool = False,
) -> Markup:
    """Lines with bands; ``marks`` are open diamonds (best possible values)."""
    with _panel(alt, 2.5 if narrow else 2.9, _NARROW if narrow else _WIDE) as (fig, out):
        axes = fig.subplots()
        for line, style in lines:
            colour = COLOURS[style.colour][0]
            axes.plot(
                line.x, line.y, color=colour, linewidth=1.7, solid_capstyle="round", dashes=style.dash or (None, None),
                marker=style.marker if markers else None, markersize=4.2, markevery=max(1, len(line.x) // 8),
            )  # fmt: skip
            if np.isfinite(line.low).any():
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.17, linewidth=0)
        if marks:
            axes.plot(
                *zip(*marks, strict=True), marker="D", markersize=7, markerfacecolor="none", markeredgewidth=1.3,
                markeredgecolor=COLOURS["ink"][0], linestyle="none", zorder=5,
            )  # fmt: skip
        if zero:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.margins(x=0.03)
        if all(float(x).is_integer() for line, _ in lines for x in line.x):
            axes.locator_params(axis="x", integer=True)
        if max(line.x[-1] for line, _ in lines) >= 2000:
            axes.xaxis.set_major_formatter(compact)
        axes.set(xlabel=x_label, ylabel=y_label)
    return out[0]


def bins_chart(
    bins: Sequence[Mapping[str, float]],
    style: Style,
    *,
    alt: str,
    x_label: str,
    y_label: str,
    steps: FloatArray | None = None,
) -> Markup:
    """Outcome against prediction with the diagonal of perfect calibration; counts per bin as bars below.

    ``y_low`` and ``y_high`` of a bin are its interval, NaN for none; ``steps`` are points (n, 2) of a rising curve.
    """
    limit = max([1.0, *(v for b in bins for v in (b["high"], b["x"], b["y"]) if math.isfinite(v))])
    filled = [b for b in bins if b["count"] > 0]
    colour = COLOURS[style.colour][0]
    with _panel(alt, 3.3, _NARROW) as (fig, out):
        top, below = fig.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        top.plot([0, limit], [0, limit], color=COLOURS["muted"][0], linewidth=1, dashes=(4, 3))
        xs, ys = [b["x"] for b in filled], [b["y"] for b in filled]
        lows, highs = [b["y_low"] for b in filled], [b["y_high"] for b in filled]
        top.vlines(xs, lows, highs, color=colour, linewidth=1.4, alpha=0.75)
        if steps is not None and len(steps):
            top.step(*steps.T, where="mid", color=COLOURS["muted"][0], linewidth=1.1)
        top.plot(xs, ys, color=colour, linewidth=1.2, marker=style.marker, markersize=4.8)
        top.set(xlim=(0, limit), ylim=(-0.02 * limit, limit * 1.02), ylabel=y_label)
        widths = [(b["high"] - b["low"]) * 0.86 for b in bins]
        centres = [(b["high"] + b["low"]) / 2 for b in bins]
        below.bar(centres, [b["count"] for b in bins], widths, color=colour, alpha=0.55, linewidth=0)
        below.locator_params(axis="y", nbins=3, integer=True)
        below.yaxis.set_major_formatter(compact)
        below.set(xlabel=x_label, ylabel="count")
    return out[0]


def histogram(
    counts: Mapping[int, float],
    style: Style,
    *,
    alt: str,
    x_label: str,
    x_max: int,
    y_max: float,
    n: float,
    mean: str,
) -> Markup:
    """Share of questions by a whole number from 1 to ``x_max``, with intervals for ``n`` questions.

    A line marks the mean; ``mean`` are the words beside it.
    """
    total = sum(counts.values())
    at = sum(value * count for value, count in counts.items()) / total
    colour = COLOURS[style.colour][0]
    with _panel(alt, 1.8, _NARROW) as (fig, out):
        axes = fig.subplots()
        shares = [count / total for count in counts.values()]
        axes.bar(list(counts), shares, 0.8, color=colour, alpha=0.75, linewidth=0)
        lows, highs = zip(*(wilson(share, n) for share in shares), strict=True)
        axes.vlines(list(counts), lows, highs, color=COLOURS["ink"][0], linewidth=0.9, alpha=0.8)
        axes.axvline(at, color=COLOURS["ink"][0], linewidth=1.2, dashes=(3, 2))
        is_left = at < x_max * 0.55
        axes.annotate(
            mean, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(5 if is_left else -5, 0),
            textcoords="offset points", ha="left" if is_left else "right", va="top",
        )  # fmt: skip
        axes.locator_params(axis="x", integer=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.locator_params(axis="y", nbins=4)
        axes.set(xlim=(0.3, x_max + 0.7), ylim=(0, y_max * 1.22), xlabel=x_label, ylabel="questions")
    return out[0]


def scatter(
    points: Sequence[tuple[Cell, Cell, Style]], *, alt: str, x_label: str, y_label: str, level: float = math.nan
) -> Markup:
    """Points with intervals in both directions; ``level`` is a dotted line (best possible value)."""
    with _panel(alt, 2.9, _WIDE) as (fig, out):
        axes = fig.subplots()
        for x, y, style in points:
            axes.errorbar(
                [x.value], [y.value], xerr=_reach(x), yerr=_reach(y), color=COLOURS[style.colour][0],
                marker=style.marker, markersize=6.5, linewidth=1.4, linestyle="none",
            )  # fmt: skip
        if math.isfinite(level):
            axes.axhline(level, color=COLOURS["muted"][0], linewidth=1.1, dashes=(1.5, 2))
        top = max(axes.get_ylim()[1], 0.0 if math.isnan(level) else level)
        axes.set(xlim=(0, axes.get_xlim()[1] * 1.06), ylim=(0, top * 1.06), xlabel=x_label, ylabel=y_label)
    return out[0]


def wilson(rate: float, count: float) -> tuple[float, float]:
    """95% Wilson score interval of a rate observed ``count`` times (Wilson 1927, JASA 22)."""
    interval = binomtest(round(rate * count), round(count)).proportion_ci(method="wilson")
    return interval.low, interval.high


def swatch(style: Style) -> Markup:
    """The line and marker of an arm, small, for legends and table heads."""
    dash = " ".join(f"{1.7 * part:g}" for part in style.dash)
    return Markup(
        '<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true"><path d="M1 6H33" fill="none" '
        'stroke="var(--{})" stroke-width="2.2" stroke-dasharray="{}"/><path d="{}" fill="var(--{})"/></svg>'
    ).format(style.colour, dash, _MARKERS[style.marker], style.colour)


def css_variables(page: int) -> Markup:
    """The colours of the light (0) or the dark (1) page; constants of this package, nothing from outside."""
    return Markup("".join(f"--{name}:{pair[page]};" for name, pair in COLOURS.items()))


def svg_file(svg: Markup) -> str:
    """An inline drawing as a file of its own, with colours for light and dark pages."""
    style = (
        f"<style>:root{{{css_variables(0)}}}@media (prefers-color-scheme:dark){{:root{{{css_variables(1)}}}}}</style>"
    )
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def clean(text: str) -> str:
    """``text`` with characters that do not belong in a page (control characters, lone surrogates) replaced."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def compact(value: float, _position: float = 0) -> str:
    """A count in short form: 950, 1.2k, 15k, 2M."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _reach(cell: Cell) -> Any:
    ends = (cell.value - cell.low, cell.high - cell.value)
    return [[max(end, 0.0)] for end in ends] if all(math.isfinite(end) for end in ends) else None


@contextmanager
def _panel(alt: str, height: float, width: float) -> Iterator[tuple[Canvas, list[Markup]]]:
    """A figure to draw on; its SVG is in the list after the block."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise MissingExtraError("matplotlib", "report", "drawing the figures of the report") from None
    ink, muted, grid = (COLOURS[name][0] for name in ("ink", "muted", "grid"))
    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": clean(alt), "font.size": 9, "font.family": "DejaVu Sans",
        "text.color": ink, "axes.labelcolor": ink, "axes.labelsize": 9, "xtick.color": muted, "ytick.color": muted,
        "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "axes.edgecolor": muted, "axes.linewidth": 0.7,
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": grid, "grid.linewidth": 0.7,
        "xtick.major.size": 3, "ytick.major.size": 0, "axes.formatter.useoffset": False, "text.parse_math": False,
        "axes.grid": True, "axes.axisbelow": True, "axes.facecolor": "none", "figure.facecolor": "none",
        "path.simplify_threshold": 0.3,
    }  # fmt: skip
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        fig = Canvas(figsize=(width, height), layout="constrained")
        out: list[Markup] = []
        yield fig, out
        buffer = io.StringIO()
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    out.append(_inline(buffer.getvalue(), alt))


def _inline(svg: str, alt: str) -> Markup:
    """SVG for the middle of an HTML page: no prolog, no namespaces, no metadata, short numbers, CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(
        r'\b(d|x|y|transform|width|height)="([^"]*)"',
        lambda m: f'{m[1]}="{re.sub(r"-?[0-9]+[.][0-9]{3,}", lambda n: f"{float(n[0]):.2f}", m[2])}"',
        svg,
    ).replace("xlink:href", "href")
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    box = re.search(r'viewBox="([^"]*)"', svg)
    body = re.sub(r"\s*\n\s*", "\n", body)
    # The drawing comes from matplotlib and holds no text from outside; the alternative text is escaped.
    head = f'<svg class="chart" viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(clean(alt))}">'
    return Markup(head + body)
