"""Every reported metric by name, as statistics that the bootstrap can resample (layer L2): docs/metrics.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from polymode.metrics import calibration, coverage, diversity, scores, selective
from polymode.metrics.layout import SumLayout
from polymode.metrics.limits import with_limits
from polymode.metrics.skill import LEAST_FOR_GAP, of_skill
from polymode.metrics.table import Floats, Ints, JudgedTable, Tables, compress
from polymode.uncertainty import (
    Divisor,
    Statistic,
    SumStatistic,
    mean_of_items,
    mean_of_questions,
    question_sums,
    ratio,
)

Key = TypeVar("Key", str, int)

ANSWERS_ON_CURVE = 30
"""The curve of distinct references found reaches this many answers."""


def of_coverage(sets: JudgedTable, layout: SumLayout) -> dict[str, Statistic]:
    """Metrics of single sets: coverage and its forms, Coverage@n, top answer, distance to the best, other counts."""
    hits_N, rank_A = sets.hits, sets.rank()
    per_set: dict[str, Floats] = {
        "coverage": hits_N,
        "recall": ratio(hits_N, sets.n_references),
        "capped_recall": ratio(hits_N, np.minimum(sets.n_references, sets.k)),
        "precision": hits_N / np.maximum(sets.k, 1),
        "any_hit": (hits_N > 0).astype(float),
        "pass@1": coverage.top_answer(sets, rank_A)[2],
        "best_coverage": sets.best,
        "uniqueness": ratio(sets.per_set(1.0 - sets.is_duplicate), sets.n_answers),
    }
    for n in range(1, layout.k + 1):
        per_set[f"coverage@{n}"] = sets.per_set(np.where(rank_A < n, sets.y, 0.0))
    if sets.by_ast is not None:
        per_set["distinct_by_ast"] = sets.by_ast
    if sets.by_behaviour is not None:
        per_set["distinct_by_behaviour"] = sets.by_behaviour
    per_set["coverage_of_best"] = np.where(np.isnan(sets.best), np.nan, hits_N)
    means = {name: mean_of_questions(sets.question, x_N, sets.n_questions) for name, x_N in per_set.items()}
    for name, most in layout.most.items():  # limited by what the questions and K allow: min(N, K) hits of a set
        means[name] = replace(means[name], limits=(0.0, most))
    hits, best = means["coverage_of_best"], means["best_coverage"]
    return {**means, "coverage_of_best": SumStatistic((hits.sums[0], best.sums[0]), ratio, best.n)}


def of_samples(completions: JudgedTable, layout: SumLayout) -> dict[str, Statistic]:
    """Metrics of several completions of a question: pass@k for k = 2, 4, 8, ...; how the first 30 answers spread."""
    n_P = np.bincount(completions.question, minlength=completions.n_questions)
    right_P = question_sums(completions.question, (completions.hits > 0).astype(float), completions.n_questions)
    powers = [2**i for i in range(1, layout.n_completions_typical.bit_length())]
    per_question = {f"pass@{k}": coverage.question_pass_at_k(n_P, right_P, k) for k in powers}
    per_question[f"unique_answers@{diversity.N_UNIQUE}"] = diversity.unique_answers(completions)
    per_question[f"modal_share@{diversity.N_UNIQUE}"] = diversity.modal_share(completions)
    if completions.is_complete is not None:
        per_question[f"kl_uniform@{diversity.N_UNIQUE}"] = diversity.kl_uniform(completions)
    return _means_over_questions(per_question)


def of_unique_references(completions: JudgedTable, layout: SumLayout | None = None) -> dict[int, Statistic]:
    """U(m) by number of answers m K, up to 30 answers and as many completions m as half of the questions have."""
    n_P = np.bincount(completions.question, minlength=completions.n_questions)
    layout = SumLayout.of([Tables(completions, completions, completions)]) if layout is None else layout
    k, typical = layout.k_of_completions, layout.n_completions_typical
    m_max = max(min(ANSWERS_ON_CURVE // k, typical), min(1, typical))
    expected_P_M = coverage.expected_coverage(*coverage.reference_counts(completions), n_P, m_max)
    return _means_over_questions({m * k: u_P for m, u_P in enumerate(expected_P_M.T, 1)})


def of_answers(answers: JudgedTable, layout: SumLayout) -> dict[str, Statistic]:
    """Calibration and ranking of single answers, pooled: ECE and its variants, Brier and its parts, NLL, AUROC."""
    has_q_A, n_questions = ~np.isnan(answers.q), answers.n_questions
    q_N, y_N, p_N, question_N = compress(has_q_A, answers.q, answers.labels, answers.p, answers.answer_question)
    bins = calibration.clustered_bin_sums(q_N, y_N, calibration.width_bins(q_N), question_N, n_questions)
    squares_P = question_sums(question_N, scores.brier_terms(q_N, y_N), n_questions)
    brier_parts = {
        "brier" if part == "brier" else f"brier_{part}": SumStatistic(
            (*bins, squares_P),
            _part_of_brier(i),
            len(q_N),
            gaps=scores.GAPS.get(part),
            derive=calibration.squared_counts if part == "reliability" else None,
        )
        for i, part in enumerate(scores.BrierParts._fields)
    }
    return {
        "ece": SumStatistic(
            bins, calibration.ece_from_sums, len(q_N), gaps=calibration.GAPS, derive=calibration.squared_counts
        ),
        "ece_debiased": SumStatistic(
            bins,
            calibration.debiased_ece_from_sums,
            len(q_N),
            gaps=calibration.DEBIASED_GAPS,
            derive=calibration.debiasing_sums,
        ),
        "pce": SumStatistic(
            bins, calibration.pce_from_sums, len(q_N), gaps=calibration.GAPS_ABOVE, derive=calibration.squared_counts
        ),
        "ece_equal_mass": calibration.ece_statistic(
            q_N, y_N, calibration.mass_bins_among(layout.q_U, layout.count_U, q_N), question_N, n_questions
        ),
        **brier_parts,
        "nll": mean_of_items(question_N, scores.log_loss_terms(q_N, y_N), n_questions),
        "auroc": selective.ranking_statistic(
            selective.auroc_from_groups, q_N, y_N, question_N, n_questions, layout.groups_U
        ),
        **_against_truth(q_N, y_N, p_N, question_N, n_questions),
    }


def of_sets(sets: JudgedTable, layout: SumLayout) -> dict[str, Statistic]:
    """Calibration of whole sets and of their top answer: expected hits, sums of confidences, KL, AURC."""
    has_q_N, question_N, n = sets.has_all_confidences, sets.question, sets.n_questions
    labels_N = sets.per_set(sets.labels)
    sum_q, hits = sets.per_set(np.nan_to_num(sets.q))[has_q_N], labels_N[has_q_N]
    question, k = question_N[has_q_N], sets.k[has_q_N]
    has_several = sets.n_references[has_q_N] > 1
    has_top_N, top_q_N, top_y_N = coverage.top_answer(sets, labels_A=sets.labels)
    has_top_N = has_top_N & ~np.isnan(top_q_N)
    top_q, top_y, top_question = top_q_N[has_top_N], top_y_N[has_top_N], question_N[has_top_N]
    # Without confidences, hits are worth a mean, too.
    counted_N = has_q_N if layout.has_confidences else sets.is_well_formed
    return {
        "ece_top1": calibration.ece_statistic(top_q, top_y, calibration.width_bins(top_q), top_question, n),
        "expected_hits_error": calibration.ece_statistic(
            sum_q, hits, calibration.width_bins(sum_q, top=k), question, n, outcomes=max(layout.k, 1)
        ),
        "expected_hits_bias": mean_of_items(question, sum_q - hits, n),
        "mean_sum_confidence": mean_of_items(question, sum_q, n),
        "mean_hits": mean_of_items(question_N[counted_N], labels_N[counted_N], n),
        "sum_to_one_bias": mean_of_items(question[has_several], (sum_q - hits)[has_several], n),
        "kl": mean_of_items(question_N, sets.kl, n),
        "total_variation": mean_of_items(question_N, sets.total_variation, n),
        "aurc": selective.ranking_statistic(selective.aurc_from_groups, top_q, top_y, top_question, n, layout.tops_U),
    }


def of_cost(sets: JudgedTable, completions: JudgedTable) -> dict[str, Statistic]:
    """Tokens, and the share of completions without a usable answer. Sets without a number of tokens are left out."""
    n = sets.n_questions
    tokens = mean_of_items(sets.question, sets.n_tokens, n)
    hits = mean_of_items(sets.question, np.where(np.isnan(sets.n_tokens), np.nan, sets.hits), n)
    return {
        "tokens_per_completion": mean_of_items(completions.question, completions.n_tokens, n),
        "tokens_per_set": tokens,
        "tokens_per_reference": SumStatistic((tokens.sums[0], hits.sums[0]), ratio, tokens.n),
        "malformed_rate": mean_of_items(completions.question, 1.0 - completions.is_well_formed, n),
    }


def statistics(
    sets: JudgedTable,
    completions: JudgedTable,
    answers: JudgedTable,
    overlaps_P4: Floats | None = None,
    layout: SumLayout | None = None,
) -> dict[str, Statistic]:
    """All metrics by name.

    Args:
        sets: the answer sets that are compared: multi-answer completions, or pools of single-answer ones.
        completions: what the model wrote; the same object as ``sets`` when nothing is pooled.
        answers: the table whose single answers are checked for calibration (usually ``completions``).
        overlaps_P4: text overlaps of each question in the order of `diversity.OVERLAPS`, when texts are there.
        layout: facts about all questions, where these are only some of them.
    """
    if overlaps_P4 is None:
        overlaps_P4 = np.full((sets.n_questions, len(diversity.OVERLAPS)), np.nan)
    layout = SumLayout.of([Tables(sets, completions, answers)]) if layout is None else layout
    everything = {
        **of_coverage(sets, layout),
        **of_samples(completions, layout),
        **_means_over_questions(dict(zip(diversity.OVERLAPS, overlaps_P4.T, strict=True))),
        **of_answers(answers, layout),
        **of_skill(answers, layout),
        **of_sets(sets, layout),
        **of_cost(sets, completions),
    }
    return {name: with_limits(name, s, max(layout.k, 1)) for name, s in everything.items()}


def _means_over_questions(values: Mapping[Key, Floats]) -> dict[Key, Statistic]:
    """Means of arrays with one value for each question, NaN where undefined."""
    return {name: mean_of_questions(np.arange(len(x_P)), x_P, len(x_P)) for name, x_P in values.items()}


def _part_of_brier(index: int) -> Callable[..., Floats]:
    return lambda *sums: scores.brier_parts_from_sums(*sums[:4])[index]  # without what only its noise needs


def _against_truth(q_N: Floats, y_N: Floats, p_N: Floats, question_N: Ints, n_questions: int) -> dict[str, Statistic]:
    """Brier score between the best constant confidence and the Bayes floor, over answers of known probability p.

    The expected forms put p in place of the drawn label: the same quantity without the noise of the draw.
    """
    has_p_N = ~np.isnan(p_N)
    question, q, y, p = question_N[has_p_N], q_N[has_p_N], y_N[has_p_N], p_N[has_p_N]
    squares_P, floor_P, hits_P, excess_P, p_P, pp_P, count_P = (
        question_sums(question, x, n_questions)
        for x in (scores.brier_terms(q, y), p * (1 - p), y, (q - p) ** 2, p, p**2, None)
    )
    all_sums = question_sums(question_N, y_N, n_questions), question_sums(question_N, None, n_questions)

    def constant(hits: Floats, count: Floats) -> Floats:
        return ratio(hits, count) * (1 - ratio(hits, count))

    def gap_closed(squares: Floats, floor: Floats, hits: Floats, count: Floats) -> Floats:
        best = constant(hits, count)
        return ratio(best - ratio(squares, count), best - ratio(floor, count))

    def expected_gap_closed(excess: Floats, p: Floats, pp: Floats, count: Floats) -> Floats:
        variance = ratio(pp, count) - ratio(p, count) ** 2
        return 1 - ratio(ratio(excess, count), np.where(variance > 1e-12, variance, 0.0))

    def gap(_squares: Floats, floor: Floats, hits: Floats, count: Floats) -> Floats:
        return constant(hits, count) - ratio(floor, count)

    def spread(_excess: Floats, p: Floats, pp: Floats, count: Floats) -> Floats:
        return ratio(pp, count) - ratio(p, count) ** 2 - 1e-12

    n = int(has_p_N.sum())
    return {
        "brier_constant": SumStatistic(all_sums, constant, len(q_N)),
        "brier_floor": SumStatistic((floor_P, count_P), ratio, n),
        "brier_excess": SumStatistic((excess_P, count_P), ratio, n),
        "brier_gap_closed": SumStatistic(
            (squares_P, floor_P, hits_P, count_P),
            gap_closed,
            n,
            divisor=Divisor(gap, "the gap from the best constant to the floor", LEAST_FOR_GAP),
        ),
        "brier_gap_closed_expected": SumStatistic(
            (excess_P, p_P, pp_P, count_P),
            expected_gap_closed,
            n,
            divisor=Divisor(spread, "the variance of the true probabilities", LEAST_FOR_GAP),
        ),
    }
