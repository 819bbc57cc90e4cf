"""Every reported metric by name, as statistics that the bootstrap can resample (layer L2).

Three units: *question means* (coverage and everything counted per question: the mean over questions of the mean over
a question's sets), *pooled answers* (calibration of single answers), *pooled sets* (calibration of sums, tokens).
docs/metrics.md holds the formula of each name.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from polymode.metrics import calibration, coverage, diversity, scores, selective
from polymode.metrics.table import Floats, Ints, JudgedTable
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
    hits_N, rank_A = sets.hits, sets.rank()
    _, _, top_y_N = coverage.top_answer(sets, rank_A)
    per_set: dict[str, Floats] = {
        "coverage": hits_N,
        "recall": ratio(hits_N, sets.n_references),
        "capped_recall": ratio(hits_N, np.minimum(sets.n_references, sets.k)),
        "precision": hits_N / np.maximum(sets.k, 1),
        "any_hit": (hits_N > 0).astype(float),
        "pass@1": top_y_N,
        "best_coverage": sets.best,
        "uniqueness": ratio(sets.per_set(1.0 - sets.is_duplicate), sets.n_answers),
    }
    for n in range(1, int(sets.k.max(initial=0)) + 1):
        per_set[f"coverage@{n}"] = sets.per_set(np.where(rank_A < n, sets.y, 0.0))
    for name, counts in (("distinct_by_ast", sets.by_ast), ("distinct_by_behaviour", sets.by_behaviour)):
        if counts is not None:
            per_set[name] = counts
    out: dict[str, Statistic] = {
        name: mean_of_questions(sets.question, x_N, sets.n_questions) for name, x_N in per_set.items()
    }
    coverage_where_best_is_known = np.where(np.isnan(sets.best), np.nan, hits_N)
    mean_hits = mean_of_questions(sets.question, coverage_where_best_is_known, sets.n_questions)
    best = mean_of_questions(sets.question, sets.best, sets.n_questions)
    out["coverage_of_best"] = SumStatistic((mean_hits.sums[0], best.sums[0]), ratio, best.n)
    return out


def of_samples(completions: JudgedTable) -> dict[str, Statistic]:
    """Metrics of several completions of a question: pass@k for k = 2, 4, 8, ... and distinct answers among 30."""
    n_P = np.bincount(completions.question, minlength=completions.n_questions)
    right_P = question_sums(completions.question, (completions.hits > 0).astype(float), completions.n_questions)
    question_P = np.arange(completions.n_questions)
    out: dict[str, Statistic] = {}
    k = 2
    while k <= _typical(n_P):
        out[f"pass@{k}"] = mean_of_questions(question_P, coverage.question_pass_at_k(n_P, right_P, k), len(n_P))
        k *= 2
    out[f"unique_answers@{diversity.N_UNIQUE}"] = mean_of_questions(
        question_P, diversity.unique_answers(completions), len(n_P)
    )
    return out


def of_unique_references(completions: JudgedTable) -> dict[int, Statistic]:
    """U(m) by number of answers m K, up to 30 answers and as many completions m as half of the questions have."""
    n_P = np.bincount(completions.question, minlength=completions.n_questions)
    k = int(completions.k.max(initial=1))
    m_max = max(min(ANSWERS_ON_CURVE // k, _typical(n_P)), min(1, _typical(n_P)))
    expected_P_M = coverage.expected_coverage(*coverage.reference_counts(completions), n_P, m_max)
    question_P = np.arange(completions.n_questions)
    return {m * k: mean_of_questions(question_P, expected_P_M[:, m - 1], len(n_P)) for m in range(1, m_max + 1)}


def of_answers(answers: JudgedTable) -> dict[str, Statistic]:
    """Calibration and ranking of single answers, pooled: ECE and its variants, Brier and its parts, NLL, AUROC."""
    has_q_A = ~np.isnan(answers.q)
    q_N, y_N, p_N = answers.q[has_q_A], answers.y[has_q_A], answers.p[has_q_A]
    question_N, n_questions = answers.answer_question[has_q_A], answers.n_questions
    bins = calibration.clustered_bin_sums(q_N, y_N, calibration.width_bins(q_N), question_N, n_questions)
    squares_P = question_sums(question_N, (q_N - y_N) ** 2, n_questions)
    out: dict[str, Statistic] = {
        "ece": SumStatistic(bins, calibration.ece_from_sums, len(q_N), is_absolute=True),
        "ece_debiased": SumStatistic(
            calibration.debiasing_sums(bins), calibration.debiased_ece_from_sums, len(q_N), is_absolute=True
        ),
        "ece_equal_mass": calibration.ece_statistic(q_N, y_N, calibration.mass_bins(q_N), question_N, n_questions),
    }
    for i, part in enumerate(scores.BrierParts._fields):
        name = part if part == "brier" else f"brier_{part}"
        out[name] = SumStatistic((*bins, squares_P), _part_of_brier(i), len(q_N), part in ("reliability", "resolution"))
    out["nll"] = mean_of_items(question_N, scores.log_loss_terms(q_N, y_N), n_questions)
    out["auroc"] = selective.ranking_statistic(selective.auroc_from_groups, q_N, y_N, question_N, n_questions)
    return out | _against_truth(q_N, y_N, p_N, question_N, n_questions)


def of_sets(sets: JudgedTable) -> dict[str, Statistic]:
    """Calibration of whole sets and of their top answer: expected hits, sums of confidences, KL, AURC."""
    has_q_N, question_N, n = has_all_confidences(sets), sets.question, sets.n_questions
    sum_q, hits = sets.per_set(np.nan_to_num(sets.q))[has_q_N], sets.hits[has_q_N]
    question, k = question_N[has_q_N], sets.k[has_q_N]
    has_several = sets.n_references[has_q_N] > 1
    has_top_N, top_q_N, top_y_N = coverage.top_answer(sets)
    has_top_N = has_top_N & ~np.isnan(top_q_N)
    top_q, top_y, top_question = top_q_N[has_top_N], top_y_N[has_top_N], question_N[has_top_N]
    counted_N = has_q_N if has_q_N.any() else sets.is_well_formed  # hits are worth a mean without confidences, too
    return {
        "ece_top1": calibration.ece_statistic(top_q, top_y, calibration.width_bins(top_q), top_question, n),
        "expected_hits_error": calibration.ece_statistic(
            sum_q, hits, calibration.width_bins(sum_q, top=k), question, n
        ),
        "expected_hits_bias": mean_of_items(question, sum_q - hits, n),
        "mean_sum_confidence": mean_of_items(question, sum_q, n),
        "mean_hits": mean_of_items(question_N[counted_N], sets.hits[counted_N], n),
        "sum_to_one_bias": mean_of_items(question[has_several], (sum_q - hits)[has_several], n),
        "kl": mean_of_items(question_N, sets.kl, n),
        "total_variation": mean_of_items(question_N, sets.total_variation, n),
        "aurc": selective.ranking_statistic(selective.aurc_from_groups, top_q, top_y, top_question, n),
    }


def of_cost(sets: JudgedTable, completions: JudgedTable) -> dict[str, Statistic]:
    """Tokens, and the share of completions without a usable answer. Sets without a number of tokens are left out."""
    has_tokens_N = ~np.isnan(sets.n_tokens)
    tokens_and_hits_P = (
        question_sums(sets.question[has_tokens_N], x_N[has_tokens_N], sets.n_questions)
        for x_N in (sets.n_tokens, sets.hits)
    )
    return {
        "tokens_per_completion": mean_of_items(completions.question, completions.n_tokens, completions.n_questions),
        "tokens_per_set": mean_of_items(sets.question, sets.n_tokens, sets.n_questions),
        "tokens_per_reference": SumStatistic(tuple(tokens_and_hits_P), ratio, int(has_tokens_N.sum())),
        "malformed_rate": mean_of_items(
            completions.question, (~completions.is_well_formed).astype(float), completions.n_questions
        ),
    }


def of_overlaps(overlaps: Floats) -> dict[str, Statistic]:
    """Text overlaps, from per-question means (P, 4) in the order of `diversity.OVERLAPS`."""
    question_P = np.arange(len(overlaps))
    return {
        name: mean_of_questions(question_P, overlaps[:, i], len(overlaps)) for i, name in enumerate(diversity.OVERLAPS)
    }


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
        overlaps: per-question text overlaps (P, 4), when texts are known.
    """
    if overlaps is None:
        overlaps = np.full((sets.n_questions, len(diversity.OVERLAPS)), np.nan)
    return {
        **of_coverage(sets),
        **of_samples(completions),
        **of_overlaps(overlaps),
        **of_answers(answers),
        **of_sets(sets),
        **of_cost(sets, completions),
    }


def has_all_confidences(table: JudgedTable) -> np.ndarray:
    """_N: the set has answers, and each of them a confidence."""
    n_missing_N = table.per_set(np.isnan(table.q).astype(float))
    return table.is_well_formed & (n_missing_N == 0)


def _typical(n_P: Iterable[int] | np.ndarray) -> int:
    """Completions that at least half of the questions have; questions with fewer are left out where that matters."""
    n_P = np.sort(np.asarray(n_P))
    return int(n_P[len(n_P) // 2]) if len(n_P) else 0


def _part_of_brier(index: int):
    return lambda *sums: scores.brier_parts_from_sums(*sums)[index]


def _against_truth(q_N: Floats, y_N: Floats, p_N: Floats, question_N: Ints, n_questions: int) -> dict[str, Statistic]:
    """Brier score between the best constant confidence and the Bayes floor, over answers of known probability p.

    The expected forms put p in place of the drawn label: the same quantity without the noise of the draw.
    """
    all_hits_P, all_P = question_sums(question_N, y_N, n_questions), question_sums(question_N, None, n_questions)
    has_p_N = ~np.isnan(p_N)
    question, q, y, p = question_N[has_p_N], q_N[has_p_N], y_N[has_p_N], p_N[has_p_N]
    squares_P, floor_P, hits_P, excess_P, p_P, pp_P, count_P = (
        question_sums(question, x, n_questions) for x in ((q - y) ** 2, p * (1 - p), y, (q - p) ** 2, p, p**2, None)
    )

    def gap_closed(squares: Array, floor: Array, hits: Array, count: Array) -> Array:
        best_constant, least = _constant(hits, count), ratio(floor, count)
        return ratio(best_constant - ratio(squares, count), best_constant - least)

    def expected_gap_closed(excess: Array, p: Array, pp: Array, count: Array) -> Array:
        variance = ratio(pp, count) - ratio(p, count) ** 2
        return 1 - ratio(ratio(excess, count), np.where(variance > 1e-12, variance, 0.0))

    n = int(has_p_N.sum())
    return {
        "brier_constant": SumStatistic((all_hits_P, all_P), _constant, len(q_N)),
        "brier_floor": SumStatistic((floor_P, count_P), ratio, n),
        "brier_excess": SumStatistic((excess_P, count_P), ratio, n),
        "brier_gap_closed": SumStatistic((squares_P, floor_P, hits_P, count_P), gap_closed, n),
        "brier_gap_closed_expected": SumStatistic((excess_P, p_P, pp_P, count_P), expected_gap_closed, n),
    }


def _constant(hits: Array, count: Array) -> Array:
    rate = ratio(hits, count)
    return rate * (1 - rate)
