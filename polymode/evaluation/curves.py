"""Points of the report's figures, from the judged tables (layer L4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from polymode.metrics import calibration, coverage, diversity, selective
from polymode.metrics.isotonic import isotonic_from_sums
from polymode.metrics.layout import SumLayout
from polymode.metrics.table import DECIMALS, Floats, Ints, JudgedTable, Tables, compress
from polymode.uncertainty import Estimate, Statistic, SumStatistic, mean_of_items, ratio

Points = list[dict[str, Any]]
CURVE = "unique_references@"
"""Before the number of answers m, the name of the statistic U(m): a point of a curve, not a metric."""
EXCESS = "sum_minus_hits@"
"""Before the number N of true answers, the name of a point of the curve ``sum_by_n_true``."""
HITS = "hits_by_expected@"
"""Before the number of a bin, the name of a point of the curve ``expected_hits``."""
POINTS = (CURVE, EXCESS, HITS)
"""What names of points begin with, which are estimated like metrics and are none."""


def curves_of(
    parts: Callable[[], Iterable[Tables]], layout: SumLayout, estimates: Mapping[str, Estimate]
) -> dict[str, Points]:
    """All curves by name.

    Args:
        parts: the tables of some questions at a time, in order.
        layout: facts about all of them.
        estimates: metrics and points of U(m) by name.
    """
    totals = _Totals(layout)
    for tables in parts():
        totals.add(*tables)
    return {
        "unique_references": _points(estimates, CURVE, "answers"),
        "coverage_at": _points(estimates, "coverage@", "n"),
        "reliability": _bins(totals.of_bins, 1.0, "confidence", "hit_rate"),
        "reliability_isotonic": _reliability_isotonic(layout.groups_U, *totals.of_groups),
        "expected_hits": _expected_hits(totals.of_sets, float(max(layout.k, 1)), estimates),
        "unique_answers_histogram": [{"unique": u, "questions": n} for u, n in sorted(totals.unique.items())],
        "risk_coverage": _risk_coverage(*totals.of_tops),
        "sum_by_n_true": _sum_by_n_true(totals, estimates),
    }


class _Totals:
    """Sums over what was added so far. Items are added one by one to them, so it does not matter in how many parts."""

    def __init__(self, layout: SumLayout) -> None:
        n_bins, n_groups, n_tops = calibration.N_BINS, len(layout.groups_U), len(layout.tops_U)
        self.groups_U, self.tops_U = layout.groups_U, layout.tops_U
        self.of_bins = calibration.BinSums(*np.zeros((3, n_bins)))
        self.of_sets = calibration.BinSums(*np.zeros((3, n_bins)))
        self.of_groups, self.of_tops = np.zeros((2, n_groups)), np.zeros((2, n_tops))
        self.unique: Counter[int] = Counter()
        self.by_n_true: dict[int, list[float]] = {}
        """Sets, their sums of confidences and hits, and their questions."""

    def add(self, sets: JudgedTable, completions: JudgedTable, answers: JudgedTable) -> None:
        q_A, y_A = compress(~np.isnan(answers.q), answers.q, answers.labels)
        self.of_bins = calibration.BinSums(*_added(self.of_bins, calibration.width_bins(q_A), None, q_A, y_A))
        group_A = np.searchsorted(self.groups_U, np.round(q_A, DECIMALS))
        self.of_groups = np.array(_added(self.of_groups, group_A, None, y_A))
        sums = (sets.per_set(np.nan_to_num(sets.q)), sets.per_set(sets.labels))
        sum_N, hits_N, k_N, n_true_N, question_N = compress(
            sets.has_all_confidences, *sums, sets.k, sets.n_references, sets.question
        )
        bin_N = calibration.width_bins(sum_N, top=k_N)
        self.of_sets = calibration.BinSums(*_added(self.of_sets, bin_N, None, sum_N, hits_N))
        unique_P = diversity.unique_answers(completions)
        self.unique.update(unique_P[~np.isnan(unique_P)].astype(int).tolist())
        has_answer_N, q_N, y_N = coverage.top_answer(sets, labels_A=sets.labels)
        q_N, y_N = compress(has_answer_N & ~np.isnan(q_N), q_N, y_N)
        top_N = np.searchsorted(self.tops_U, np.round(q_N, DECIMALS))
        self.of_tops = np.array(_added(self.of_tops, top_N, None, y_N))
        for n_true in np.unique(n_true_N).tolist():
            is_here_N = n_true_N == n_true
            new = [is_here_N.sum(), sum_N[is_here_N].sum(), hits_N[is_here_N].sum()]
            new.append(len(np.unique(question_N[is_here_N])))
            before = self.by_n_true.get(n_true, [0, 0.0, 0.0, 0])
            self.by_n_true[n_true] = [a + b for a, b in zip(before, new, strict=True)]


def _added(totals: Iterable[Floats], place_N: Ints, *columns: Floats | None) -> list[Floats]:
    """The totals and, one after the other, the items of each column at their places; None counts them."""
    new = []
    for total_B, x_N in zip(totals, columns, strict=True):
        n = len(total_B)
        if x_N is None:
            new.append(total_B + np.bincount(place_N, minlength=n))
        else:
            place, x = np.concatenate([np.arange(n), place_N]), np.concatenate([total_B, x_N])
            new.append(np.bincount(place, x, minlength=n).astype(float))
    return new


def _points(estimates: Mapping[str, Estimate], prefix: str, x: str) -> Points:
    return [
        {x: int(name.removeprefix(prefix)), "value": e.value, "low": e.low, "high": e.high, "questions": e.n}
        for name, e in estimates.items()
        if name.startswith(prefix)
    ]


def _reliability_isotonic(q_U: Floats, count_U: Floats, right_U: Floats) -> Points:
    columns = (column.tolist() for column in isotonic_from_sums(q_U, count_U, right_U))
    return [{"confidence": q, "hit_rate": y, "count": int(n)} for q, y, n in zip(*columns, strict=True)]


def _bins(sums_B: calibration.BinSums, top: float, x: str, y: str) -> Points:
    columns = (column.tolist() for column in calibration.reliability_from_sums(*sums_B, top))
    return [
        {"low": low, "high": high, "count": int(n), x: mean_x, y: mean_y}
        for low, high, n, mean_x, mean_y in zip(*columns, strict=True)
    ]


def hits_by_expected(expected_hits_error: Statistic, k: int) -> dict[str, Statistic]:
    """Mean hits of the sets in each bin of the expected hits, by `HITS` and the number of the bin.

    Args:
        expected_hits_error: the metric, whose sums of each question and bin these are too.
        k: answers of a set.
    """
    assert isinstance(expected_hits_error, SumStatistic)
    count_P_B, _, hits_P_B = expected_hits_error.sums

    def mean_in(b: int) -> Callable[..., Floats]:
        return lambda count_B, hits_B: ratio(hits_B[..., b], count_B[..., b])

    return {
        f"{HITS}{b}": SumStatistic(
            (count_P_B, hits_P_B), mean_in(b), int(count_P_B[:, b].sum()), limits=(0.0, k), support=(count_P_B[:, b],)
        )
        for b in range(count_P_B.shape[1])
    }


def _expected_hits(sums_B: calibration.BinSums, top: float, estimates: Mapping[str, Estimate]) -> Points:
    intervals = [estimates.get(f"{HITS}{b}") for b in range(len(sums_B.count))]
    return [
        {**point, "hits_low": math.nan if one is None else one.low, "hits_high": math.nan if one is None else one.high}
        for point, one in zip(_bins(sums_B, top, "expected", "hits"), intervals, strict=True)
    ]


def _risk_coverage(count_U: Floats, right_U: Floats) -> Points:
    share, risk = selective.risk_coverage_from_sums(count_U, right_U)
    return [{"coverage": c, "risk": r} for c, r in zip(share.tolist(), risk.tolist(), strict=True)]


def excess_by_n_true(sets: JudgedTable, n_true: Iterable[int]) -> dict[str, Statistic]:
    """Mean sum of confidences minus hits of the sets with N true answers, for each N, by `EXCESS` and N."""
    excess_N = sets.per_set(np.nan_to_num(sets.q)) - sets.per_set(sets.labels)
    excess_N[~sets.has_all_confidences] = np.nan
    return {
        f"{EXCESS}{n}": mean_of_items(
            sets.question, np.where(sets.n_references == n, excess_N, np.nan), sets.n_questions
        )
        for n in n_true
    }


def _sum_by_n_true(totals: _Totals, estimates: Mapping[str, Estimate]) -> Points:
    return [
        {
            "n_true": n_true,
            "count": int(count),
            "mean_sum_confidence": float(total / count),
            "mean_hits": float(hits / count),
            "questions": int(n_questions),
            **{name: getattr(estimates[f"{EXCESS}{n_true}"], name) for name in ("value", "low", "high")},
        }
        for n_true, (count, total, hits, n_questions) in sorted(totals.by_n_true.items())
    ]
