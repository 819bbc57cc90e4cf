"""Points of the report's figures, from the judged tables (layer L4)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from polymode.metrics import calibration, coverage, diversity, selective
from polymode.metrics.statistics import has_all_confidences
from polymode.metrics.table import JudgedTable
from polymode.uncertainty import Estimate

Points = list[dict[str, Any]]


def curves_of(
    sets: JudgedTable, completions: JudgedTable, answers: JudgedTable, estimates: Mapping[Any, Estimate]
) -> dict[str, Points]:
    """All curves by name.

    Args:
        sets: the answer sets that are compared.
        completions: what the model wrote.
        answers: the table whose single answers are checked for calibration.
        estimates: metrics by name, and points of U(m) by ``("unique_references", answers)``.
    """
    return {
        "unique_references": _points(estimates, "unique_references", "answers"),
        "coverage_at": [
            {"n": int(name.removeprefix("coverage@")), **_interval(e)}
            for name, e in estimates.items()
            if isinstance(name, str) and name.startswith("coverage@")
        ],
        "reliability": _reliability(answers),
        "expected_hits": _expected_hits(sets),
        "unique_answers_histogram": _unique_histogram(completions),
        "risk_coverage": _risk_coverage(sets),
        "sum_by_n_true": _sum_by_n_true(sets),
    }


def _points(estimates: Mapping[Hashable, Estimate], name: str, x: str) -> Points:
    return [{x: key[1], **_interval(e)} for key, e in estimates.items() if isinstance(key, tuple) and key[0] == name]


def _interval(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "questions": estimate.n}


def _reliability(answers: JudgedTable) -> Points:
    held = ~np.isnan(answers.q)
    q, y = answers.q[held], answers.y[held]
    return _bins(calibration.bin_sums(q, y, calibration.width_bins(q)), 1.0, "confidence", "hit_rate")


def _expected_hits(sets: JudgedTable) -> Points:
    held = has_all_confidences(sets)
    stated, hits, k = sets.per_set(np.nan_to_num(sets.q))[held], sets.hits[held], sets.k[held]
    sums = calibration.bin_sums(stated, hits, calibration.width_bins(stated, top=k))
    return _bins(sums, float(sets.k.max(initial=1)), "expected", "hits")


def _bins(sums: calibration.BinSums, top: float, stated: str, came_true: str) -> Points:
    columns = (column.tolist() for column in calibration.reliability_from_sums(*sums, top))
    return [
        {"low": low, "high": high, "count": int(n), stated: q, came_true: y}
        for low, high, n, q, y in zip(*columns, strict=True)
    ]


def _unique_histogram(completions: JudgedTable) -> Points:
    counts = diversity.unique_answers(completions)
    values, questions = np.unique(counts[~np.isnan(counts)].astype(int), return_counts=True)
    return [{"unique": u, "questions": n} for u, n in zip(values.tolist(), questions.tolist(), strict=True)]


def _risk_coverage(sets: JudgedTable) -> Points:
    held, q, y = coverage.top_answer(sets)
    held = held & ~np.isnan(q)
    share, risk = selective.risk_coverage(q[held], y[held])
    return [{"coverage": c, "risk": r} for c, r in zip(share.tolist(), risk.tolist(), strict=True)]


def _sum_by_n_true(sets: JudgedTable) -> Points:
    held = has_all_confidences(sets)
    stated, hits, n_true = sets.per_set(np.nan_to_num(sets.q))[held], sets.hits[held], sets.n_references[held]
    points = []
    for n in np.unique(n_true).tolist():
        where = n_true == n
        points.append(
            {
                "n_true": n,
                "count": int(where.sum()),
                "mean_sum_confidence": float(stated[where].mean()),
                "mean_hits": float(hits[where].mean()),
            }
        )
    return points
