"""Every reported metric by name, as statistics that the bootstrap can resample (layer L2).

Three units: *question means* (coverage and everything counted per question: the mean over questions of the mean over
a question's sets), *pooled answers* (calibration of single answers), *pooled sets* (calibration of sums, tokens).
docs/metrics.md holds the formula of each name.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from polymode.metrics import calibration, cost, coverage, diversity, selective
from polymode.metrics.table import Floats, JudgedTable
from polymode.uncertainty import (
    Array,
    Statistic,
    SumStatistic,
    mean_of_items,
    mean_of_questions,
    question_sums,
    ratio,
)

ANSWERS_ON_CURVE = 30
"""The curve of distinct references found reaches this many answers."""


def of_coverage(sets: JudgedTable) -> dict[str, Statistic]:
    """Metrics of single sets: coverage and its forms, Coverage@n, top answer, distance to the best, other counts."""
    hits, rank = sets.hits, sets.rank()
    _, _, top_label = coverage.top_answer(sets, rank)
    per_set: dict[str, Floats] = {
        "coverage": hits,
        "recall": ratio(hits, sets.n_references),
        "capped_recall": ratio(hits, np.minimum(sets.n_references, sets.k)),
        "precision": hits / np.maximum(sets.k, 1),
        "any_hit": (hits > 0).astype(float),
        "pass@1": top_label,
        "best_coverage": sets.best,
        "uniqueness": diversity.uniqueness(sets),
    }
    for n in range(1, int(sets.k.max(initial=0)) + 1):
        per_set[f"coverage@{n}"] = coverage.coverage_at(sets, n, rank)
    for name, counts in (("distinct_by_ast", sets.by_ast), ("distinct_by_behaviour", sets.by_behaviour)):
        if counts is not None:
            per_set[name] = counts
    out: dict[str, Statistic] = {
        name: mean_of_questions(sets.question, x, sets.n_questions) for name, x in per_set.items()
    }
    known = ~np.isnan(sets.best)
    found = mean_of_questions(sets.question, np.where(known, hits, np.nan), sets.n_questions)
    best = mean_of_questions(sets.question, sets.best, sets.n_questions)
    out["coverage_of_best"] = SumStatistic((found.sums[0], best.sums[0]), ratio, best.n)
    return out


def of_samples(completions: JudgedTable) -> dict[str, Statistic]:
    """Metrics of several completions of a question: pass@k for k = 2, 4, 8, ... and distinct answers among 30."""
    n_Q = np.bincount(completions.question, minlength=completions.n_questions)
    right_Q = question_sums(completions.question, (completions.hits > 0).astype(float), completions.n_questions)
    every = np.arange(completions.n_questions)
    out: dict[str, Statistic] = {}
    k = 2
    while k <= _typical(n_Q):
        out[f"pass@{k}"] = mean_of_questions(every, coverage.pass_at_k(n_Q, right_Q, k), len(n_Q))
        k *= 2
    out[f"unique_answers@{diversity.N_UNIQUE}"] = mean_of_questions(
        every, diversity.unique_answers(completions), len(n_Q)
    )
    return out


def of_unique_references(completions: JudgedTable) -> dict[int, Statistic]:
    """U(m) by number of answers m K, up to 30 answers and as many completions m as half of the questions have."""
    n_Q = np.bincount(completions.question, minlength=completions.n_questions)
    k = int(completions.k.max(initial=1))
    m_max = max(min(ANSWERS_ON_CURVE // k, _typical(n_Q)), min(1, _typical(n_Q)))
    question, counts = coverage.reference_counts(completions)
    expected = coverage.expected_coverage(question, counts, n_Q, m_max)
    every = np.arange(completions.n_questions)
    return {m * k: mean_of_questions(every, expected[:, m - 1], len(n_Q)) for m in range(1, m_max + 1)}


def of_answers(answers: JudgedTable) -> dict[str, Statistic]:
    """Calibration and ranking of single answers, pooled: ECE and its variants, Brier and its parts, NLL, AUROC."""
    held = ~np.isnan(answers.q)
    q, y, p = answers.q[held], answers.y[held], answers.p[held]
    question, n_questions = answers.answer_question[held], answers.n_questions
    bins = calibration.clustered_bin_sums(q, y, calibration.width_bins(q), question, n_questions)
    squares = question_sums(question, (q - y) ** 2, n_questions)
    out: dict[str, Statistic] = {
        "ece": SumStatistic(bins, calibration.ece_from_sums, len(q), is_absolute=True),
        "ece_debiased": SumStatistic(
            calibration.debiasing_sums(bins), calibration.debiased_ece_from_sums, len(q), is_absolute=True
        ),
        "ece_equal_mass": calibration.ece_statistic(q, y, calibration.mass_bins(q), question, n_questions),
    }
    for i, part in enumerate(calibration.BrierParts._fields):
        name = part if part == "brier" else f"brier_{part}"
        out[name] = SumStatistic((*bins, squares), _part_of_brier(i), len(q), part in ("reliability", "resolution"))
    out["nll"] = mean_of_items(question, calibration.log_loss_terms(q, y), n_questions)
    out["auroc"] = selective.auroc_statistic(q, y, question, n_questions)
    return out | _against_truth(q, y, p, question, n_questions)


def of_sets(sets: JudgedTable) -> dict[str, Statistic]:
    """Calibration of whole sets and of their top answer: expected hits, sums of confidences, KL, AURC."""
    held, question = has_all_confidences(sets), sets.question
    stated, hits = sets.per_set(np.nan_to_num(sets.q))[held], sets.hits[held]
    where, k = question[held], sets.k[held]
    several = sets.n_references[held] > 1
    top_held, top_q, top_y = coverage.top_answer(sets)
    top_held = top_held & ~np.isnan(top_q)
    top_q, top_y, top_where = top_q[top_held], top_y[top_held], question[top_held]
    mean_hits = hits if held.any() else sets.hits[sets.is_well_formed]
    mean_hits_where = where if held.any() else question[sets.is_well_formed]
    n = sets.n_questions
    return {
        "ece_top1": calibration.ece_statistic(top_q, top_y, calibration.width_bins(top_q), top_where, n),
        "expected_hits_error": calibration.ece_statistic(stated, hits, calibration.width_bins(stated, top=k), where, n),
        "expected_hits_bias": mean_of_items(where, stated - hits, n),
        "mean_sum_confidence": mean_of_items(where, stated, n),
        "mean_hits": mean_of_items(mean_hits_where, mean_hits, n),
        "sum_to_one_bias": mean_of_items(where[several], (stated - hits)[several], n),
        "kl": mean_of_items(question, sets.kl, n),
        "total_variation": mean_of_items(question, sets.total_variation, n),
        "aurc": selective.aurc_statistic(top_q, top_y, top_where, n),
    }


def of_cost(sets: JudgedTable, completions: JudgedTable) -> dict[str, Statistic]:
    """Tokens, and the share of completions without a usable answer."""
    return {
        "tokens_per_completion": mean_of_items(completions.question, completions.n_tokens, completions.n_questions),
        "tokens_per_set": mean_of_items(sets.question, sets.n_tokens, sets.n_questions),
        "tokens_per_reference": cost.tokens_per_reference_statistic(sets),
        "malformed_rate": mean_of_items(
            completions.question, (~completions.is_well_formed).astype(float), completions.n_questions
        ),
    }


def of_overlaps(overlaps: Floats) -> dict[str, Statistic]:
    """Text overlaps, from per-question means (Q, 4) in the order of `diversity.OVERLAPS`."""
    every = np.arange(len(overlaps))
    return {name: mean_of_questions(every, overlaps[:, i], len(overlaps)) for i, name in enumerate(diversity.OVERLAPS)}


def statistics(
    sets: JudgedTable,
    completions: JudgedTable,
    answers: JudgedTable,
    overlaps: Floats | None = None,
) -> dict[str, Statistic]:
    """All metrics by name.

    Args:
        sets: the answer sets that are compared: multi-answer completions, or pools of single-answer ones.
        completions: what the model wrote, one row per completion; the same object as ``sets`` when nothing is pooled.
        answers: the table whose single answers are checked for calibration (usually ``completions``).
        overlaps: per-question text overlaps (Q, 4), when texts are known.
    """
    unknown = np.full((sets.n_questions, len(diversity.OVERLAPS)), np.nan)
    return {
        **of_coverage(sets),
        **of_samples(completions),
        **of_overlaps(unknown if overlaps is None else overlaps),
        **of_answers(answers),
        **of_sets(sets),
        **of_cost(sets, completions),
    }


def has_all_confidences(table: JudgedTable) -> np.ndarray:
    """_N: the set has answers, and each of them a confidence."""
    missing = table.per_set(np.isnan(table.q).astype(float))
    return table.is_well_formed & (missing == 0)


def _typical(n_Q: Iterable[int] | np.ndarray) -> int:
    """Completions that at least half of the questions have; questions with fewer are left out where that matters."""
    n_Q = np.sort(np.asarray(n_Q))
    return int(n_Q[len(n_Q) // 2]) if len(n_Q) else 0


def _part_of_brier(index: int):
    return lambda *sums: calibration.brier_parts_from_sums(*sums)[index]


def _against_truth(q: Floats, y: Floats, p: Floats, question: np.ndarray, n_questions: int) -> dict[str, Statistic]:
    """Brier score between the best constant confidence and the Bayes floor, over answers of known probability p.

    The expected forms put p in place of the drawn label: the same quantity without the noise of the draw.
    """
    constant = SumStatistic(
        (question_sums(question, y, n_questions), question_sums(question, None, n_questions)), _constant, len(q)
    )
    known = ~np.isnan(p)
    where, q, y, p = question[known], q[known], y[known], p[known]
    squares, floors, hits, excess, chance, chance_squared = (
        question_sums(where, x, n_questions) for x in ((q - y) ** 2, p * (1 - p), y, (q - p) ** 2, p, p**2)
    )
    count = question_sums(where, None, n_questions)

    def gap_closed(squares: Array, floors: Array, hits: Array, count: Array) -> Array:
        best_constant, floor = _constant(hits, count), ratio(floors, count)
        return ratio(best_constant - ratio(squares, count), best_constant - floor)

    def expected_gap_closed(excess: Array, chance: Array, chance_squared: Array, count: Array) -> Array:
        spread = ratio(chance_squared, count) - ratio(chance, count) ** 2
        return 1 - ratio(ratio(excess, count), np.where(spread > 1e-12, spread, 0.0))

    n = int(known.sum())
    return {
        "brier_constant": constant,
        "brier_floor": SumStatistic((floors, count), ratio, n),
        "brier_excess": SumStatistic((excess, count), ratio, n),
        "brier_gap_closed": SumStatistic((squares, floors, hits, count), gap_closed, n),
        "brier_gap_closed_expected": SumStatistic((excess, chance, chance_squared, count), expected_gap_closed, n),
    }


def _constant(hits: Array, count: Array) -> Array:
    rate = ratio(hits, count)
    return rate * (1 - rate)
