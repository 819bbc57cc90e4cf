"""Points of the report's figures, from the judged tables (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polymode.metrics import calibration, coverage, diversity, selective
from polymode.metrics.isotonic import isotonic_reliability
from polymode.metrics.statistics import has_all_confidences
from polymode.metrics.table import JudgedTable
from polymode.uncertainty import Estimate, Statistic, mean_of_items

Points = list[dict[str, Any]]
CURVE = "unique_references@"
"""Before the number of answers m, the name of the statistic U(m): a point of a curve, not a metric."""
EXCESS = "sum_minus_hits@"
"""Before the number N of true answers, the name of a point of the curve ``sum_by_n_true``."""


def curves_of(
    sets: JudgedTable, completions: JudgedTable, answers: JudgedTable, estimates: Mapping[str, Estimate]
) -> dict[str, Points]:
    """All curves by name.

    Args:
        sets: the answer sets that are compared.
        completions: what the model wrote.
        answers: the table whose single answers are checked for calibration.
        estimates: metrics and points of U(m) by name.
    """
    return {
        "unique_references": _points(estimates, CURVE, "answers"),
        "coverage_at": _points(estimates, "coverage@", "n"),
        "reliability": _reliability(answers),
        "reliability_isotonic": _reliability_isotonic(answers),
        "expected_hits": _expected_hits(sets),
        "unique_answers_histogram": _unique_histogram(completions),
        "risk_coverage": _risk_coverage(sets),
        "sum_by_n_true": _sum_by_n_true(sets, estimates),
    }


def _points(estimates: Mapping[str, Estimate], prefix: str, x: str) -> Points:
    return [
        {x: int(name.removeprefix(prefix)), "value": e.value, "low": e.low, "high": e.high, "questions": e.n}
        for name, e in estimates.items()
        if name.startswith(prefix)
    ]


def _reliability(answers: JudgedTable) -> Points:
    has_q_A = ~np.isnan(answers.q)
    q_A, y_A = answers.q[has_q_A], answers.labels[has_q_A]
    return _bins(calibration.bin_sums(q_A, y_A, calibration.width_bins(q_A)), 1.0, "confidence", "hit_rate")


def _reliability_isotonic(answers: JudgedTable) -> Points:
    columns = (column.tolist() for column in isotonic_reliability(answers.q, answers.labels))
    return [{"confidence": q, "hit_rate": y, "count": int(n)} for q, y, n in zip(*columns, strict=True)]


def _expected_hits(sets: JudgedTable) -> Points:
    has_q_N = has_all_confidences(sets)
    sum_N, hits_N, k_N = (
        x_N[has_q_N] for x_N in (sets.per_set(np.nan_to_num(sets.q)), sets.per_set(sets.labels), sets.k)
    )
    sums_B = calibration.bin_sums(sum_N, hits_N, calibration.width_bins(sum_N, top=k_N))
    return _bins(sums_B, float(sets.k.max(initial=1)), "expected", "hits")


def _bins(sums_B: calibration.BinSums, top: float, x: str, y: str) -> Points:
    columns = (column.tolist() for column in calibration.reliability_from_sums(*sums_B, top))
    return [
        {"low": low, "high": high, "count": int(n), x: mean_x, y: mean_y}
        for low, high, n, mean_x, mean_y in zip(*columns, strict=True)
    ]


def _unique_histogram(completions: JudgedTable) -> Points:
    unique_P = diversity.unique_answers(completions)
    values, counts = np.unique(unique_P[~np.isnan(unique_P)].astype(int), return_counts=True)
    return [{"unique": u, "questions": n} for u, n in zip(values.tolist(), counts.tolist(), strict=True)]


def _risk_coverage(sets: JudgedTable) -> Points:
    has_answer_N, q_N, y_N = coverage.top_answer(sets, labels_A=sets.labels)
    is_used_N = has_answer_N & ~np.isnan(q_N)
    share, risk = selective.risk_coverage(q_N[is_used_N], y_N[is_used_N])
    return [{"coverage": c, "risk": r} for c, r in zip(share.tolist(), risk.tolist(), strict=True)]


def excess_by_n_true(sets: JudgedTable) -> dict[str, Statistic]:
    """Mean sum of confidences minus hits of the sets with N true answers, by `EXCESS` and N."""
    excess_N = sets.per_set(np.nan_to_num(sets.q)) - sets.per_set(sets.labels)
    excess_N[~has_all_confidences(sets)] = np.nan
    return {
        f"{EXCESS}{n_true}": mean_of_items(
            sets.question, np.where(sets.n_references == n_true, excess_N, np.nan), sets.n_questions
        )
        for n_true in np.unique(sets.n_references).tolist()
    }


def _sum_by_n_true(sets: JudgedTable, estimates: Mapping[str, Estimate]) -> Points:
    has_q_N = has_all_confidences(sets)
    sum_N, hits_N = sets.per_set(np.nan_to_num(sets.q))[has_q_N], sets.per_set(sets.labels)[has_q_N]
    n_true_N, question_N = sets.n_references[has_q_N], sets.question[has_q_N]
    groups = [(n_true, n_true_N == n_true) for n_true in np.unique(n_true_N).tolist()]
    return [
        {
            "n_true": n_true,
            "count": int(is_here_N.sum()),
            "mean_sum_confidence": float(sum_N[is_here_N].mean()),
            "mean_hits": float(hits_N[is_here_N].mean()),
            "questions": len(np.unique(question_N[is_here_N])),
            **{name: getattr(estimates[f"{EXCESS}{n_true}"], name) for name in ("value", "low", "high")},
        }
        for n_true, is_here_N in groups
    ]
