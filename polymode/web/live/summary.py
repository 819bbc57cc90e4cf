"""Decisions, calibration and coverage over time, with 95% intervals (layer L6).

What is right is known for the random share alone, and only that share is used: escalated questions are reviewed too,
but because the policy chose them, and would make every figure worse than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from polymode.types import DecisionKind
from polymode.uncertainty import Estimate
from polymode.uncertainty.intervals import exact_interval, share_interval, t_quantile
from polymode.web.live.labels import Label
from polymode.web.live.monitor import HOUR, LiveState

MAX_PERIODS = 12
SIZES = (1, 6, 24, 24 * 7, 24 * 28, 24 * 7 * 52)
"""Lengths of a period in hours."""
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Of the bins of confidences."""
KINDS = tuple(kind.value for kind in DecisionKind)


@dataclass(frozen=True, slots=True)
class Period:
    """What happened in some time."""

    start: datetime
    end: datetime
    n: int
    """Answers."""
    decisions: dict[str, Estimate]
    """Share of each decision."""
    n_reviewed: int
    failures: Estimate
    """Share of the reviewed questions with something shown where nothing of it is right."""
    coverage: Estimate
    """Share of the reviewed questions with a right answer among the candidates."""
    gap: Estimate
    """Expected number of right answers, the sum of the confidences, less the number of right ones."""

    @property
    def label(self) -> str:
        """When it was: a day, an hour, or the first and the last day."""
        hours, last = (self.end - self.start) // timedelta(hours=1), self.end - timedelta(hours=1)
        if hours < 24:
            return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%H:%M}"
        return f"{self.start:%Y-%m-%d}" if hours == 24 else f"{self.start:%Y-%m-%d} to {last:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence."""

    low: float
    high: float
    confidence: float
    """Mean."""
    right: Estimate
    """Share of right ones."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a page shows over time."""

    total: Period | None
    periods: tuple[Period, ...]
    """The latest first."""
    bins: tuple[Bin, ...]


def summarise(state: LiveState) -> Summary:
    """The figures of a state, in at most `MAX_PERIODS` periods of equal length."""
    if not state.hours:
        return Summary(None, (), ())
    hours = sorted({hour for hour, _ in state.hours})
    first, last = hours[0], hours[-1]
    size = next((n for n in SIZES if last // n - first // n < MAX_PERIODS), SIZES[-1])
    labels = [label for label in state.labels if label.verdicts is not None]
    starts = range(last // size, first // size - 1, -1)
    periods = [_period(state, labels, start * size, (start + 1) * size) for start in starts]
    total = _period(state, labels, first, last + 1)
    return Summary(total, tuple(one for one in periods if one.n), tuple(_bins(labels)))


def _period(state: LiveState, labels: Sequence[Label], start: int, end: int) -> Period:
    counts = {kind: sum(state.hours[hour, kind] for hour in range(start, end)) for kind in KINDS}
    n = sum(counts.values())
    own = [one for one in labels if start <= int(one.at.timestamp()) // HOUR < end]
    is_right = [any(one.verdicts or ()) for one in own]
    gaps = [sum(one.confidences) - sum(one.verdicts or ()) for one in own]
    return Period(
        datetime.fromtimestamp(start * HOUR, UTC),
        datetime.fromtimestamp(end * HOUR, UTC),
        n,
        {kind: share(count, n) for kind, count in counts.items()},
        len(own),
        share_of([one.has_failed for one in own if one.n_shown]),
        share_of(is_right),
        mean(gaps),
    )


def _bins(labels: Sequence[Label]) -> list[Bin]:
    """Reliability: confidence against share of right ones; answers of one question count together in the interval."""
    rows = [
        (number, q, right)
        for number, one in enumerate(labels)
        for q, right in zip(one.confidences, one.verdicts or (), strict=True)
    ]
    out = []
    for low, high in pairwise(EDGES):
        own = [row for row in rows if low <= row[1] < high or (high == EDGES[-1] and row[1] == high)]
        if not own:
            continue
        count_P, n_P = np.zeros(len(labels)), np.zeros(len(labels))
        for number, _, right in own:
            count_P[number] += right
            n_P[number] += 1
        limits = share_interval(count_P[n_P > 0], n_P[n_P > 0]) if len({row[0] for row in own}) > 1 else (0.0, 1.0)
        value = sum(row[2] for row in own) / len(own)
        out.append(Bin(low, high, sum(row[1] for row in own) / len(own), Estimate(value, *limits, len(own))))
    return out


def share(count: int, n: int) -> Estimate:
    """A share of independent outcomes, with exact limits."""
    return Estimate(count / n, *exact_interval(count, n), n) if n else Estimate(math.nan, math.nan, math.nan, 0)


def share_of(outcomes: Sequence[bool]) -> Estimate:
    """The share of true ones."""
    return share(sum(outcomes), len(outcomes))


def mean(values: Sequence[float]) -> Estimate:
    """The mean of independent numbers, with the limits of Student's t."""
    n = len(values)
    if n < 2:
        return Estimate(values[0] if n else math.nan, math.nan, math.nan, n)
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    value = float(np.mean(values))
    return Estimate(value, value - half, value + half, n)
