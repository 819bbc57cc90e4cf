"""What confidences know beyond their question and their slot, and what of them is confident and wrong (layer L2).

The first answer of a set is right more often than the third, and easy questions have more right answers than hard ones.
A model that knows no more than that has a pooled AUROC far above 1/2; within a question, or within a slot, it has 1/2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from polymode.errors import RecordError
from polymode.metrics.layout import SumLayout
from polymode.metrics.scores import brier_terms
from polymode.metrics.selective import ranking_statistic
from polymode.metrics.table import DECIMALS, Floats, Ints, JudgedTable, compress, floats
from polymode.uncertainty import Divisor, Statistic, SumStatistic, mean_of_items, question_sums, ratio

GATES = (0.5, 0.7, 0.9)
"""Confidences from which an answer passes a gate."""
LEAST_FOR_GAP = 30
"""Questions from which a share of a Brier gap is reported (docs/metrics.md says what was simulated)."""


def auroc_within(q_N: ArrayLike, y_N: ArrayLike, group_N: ArrayLike) -> float:
    """P(q of a right answer > q of a wrong one of the same group), over all such pairs, ties counting half.

    Args:
        q_N: confidences in [0, 1], shape (n,).
        y_N: labels 0 or 1, or soft labels: a probability w is w right and 1 - w wrong, in no pair with itself.
        group_N: question or slot of each answer, as numbers or names, shape (n,).

    Returns:
        A number in [0, 1]; 0.5 for confidences that tell nothing but the group; NaN without a pair.

    >>> auroc_within([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 1], ["a", "a", "b", "b"])  # pooled, 2 of 3 pairs are in order
    0.0
    """
    q_N, y_N, group_N = floats("q", q_N, 0, 1), floats("y", y_N, 0, 1), np.asarray(group_N)
    if not q_N.shape == y_N.shape == group_N.shape or q_N.ndim != 1:
        shapes = f"{q_N.shape}, {y_N.shape} and {group_N.shape}"
        raise RecordError(f"q, y and group: shapes {shapes}; give one of each for every answer, all flat")
    is_defined_N = ~np.isnan(q_N + y_N)
    names, index_N = np.unique(group_N[is_defined_N], return_inverse=True)
    ordered_G, pairs_G = _pairs(q_N[is_defined_N], y_N[is_defined_N], index_N, len(names))
    return float(ratio(ordered_G.sum(), pairs_G.sum()))


def _pairs(q_N: Floats, y_N: Floats, group_N: Ints, n_groups: int) -> tuple[Floats, Floats]:
    """Of each group, the pairs of a right and a wrong answer in which the right one has the higher q; and all pairs."""
    if not len(q_N):
        return np.zeros(n_groups), np.zeros(n_groups)
    q_N = np.round(q_N, DECIMALS)
    order_N = np.lexsort((q_N, group_N))
    group, q, y = group_N[order_N], q_N[order_N], y_N[order_N]
    start_U = np.flatnonzero((np.diff(group, prepend=-1) != 0) | (np.diff(q, prepend=-1.0) != 0))
    group_U, right_U, wrong_U = group[start_U], np.add.reduceat(y, start_U), np.add.reduceat(1 - y, start_U)
    before_U = np.cumsum(wrong_U) - wrong_U
    below_U = before_U - before_U[np.searchsorted(group_U, group_U)]
    itself_G = question_sums(group_N, y_N * (1 - y_N), n_groups)  # a soft label with itself is no pair
    ordered_G = question_sums(group_U, right_U * (below_U + wrong_U / 2), n_groups) - itself_G / 2
    right_G, wrong_G = (question_sums(group_N, x_N, n_groups) for x_N in (y_N, 1 - y_N))
    return ordered_G, right_G * wrong_G - itself_G


def within_question(q_N: Floats, y_N: Floats, question_N: Ints, n_questions: int) -> SumStatistic:
    """`auroc_within` questions; n: answers of the questions that have a pair."""
    ordered_P, pairs_P = _pairs(q_N, y_N, question_N, n_questions)
    has_pair_P = pairs_P > 1e-9
    n = int(np.count_nonzero(has_pair_P[question_N]))
    return SumStatistic((ordered_P * has_pair_P, pairs_P * has_pair_P), ratio, n, support=(has_pair_P,))


def within_slot(
    q_N: Floats, y_N: Floats, slot_N: Ints, question_N: Ints, n_questions: int, keys_U: Floats | None = None
) -> Statistic:
    """`auroc_within` slots, whose pairs are of different questions, too; n: answers.

    A soft label has a pair with itself here, unlike there, which draws the value to 0.5 by less than 1 / n.

    ``keys_U`` are all values of 2 slot + q, where these answers are only some.
    """
    key_N = 2.0 * slot_N + q_N  # slot by slot, and by confidence within a slot
    keys_U = np.unique(np.round(key_N, DECIMALS)) if keys_U is None else keys_U
    slot_U = keys_U // 2
    start_K = np.flatnonzero(np.diff(slot_U, prepend=-1.0))
    first_U = np.repeat(start_K, np.diff(np.append(start_K, len(slot_U))))

    def formula(count_U: Floats, y_U: Floats) -> Floats:
        wrong_U = count_U - y_U
        before_U = np.cumsum(wrong_U, axis=-1) - wrong_U
        ordered = (y_U * (before_U - before_U[..., first_U] + wrong_U / 2)).sum(-1)
        right_K, wrong_K = (np.add.reduceat(x_U, start_K, axis=-1) for x_U in (y_U, wrong_U))
        return ratio(ordered, (right_K * wrong_K).sum(-1))

    return ranking_statistic(formula, key_N, y_N, question_N, n_questions, keys_U)


def slot_constants(
    y_N: Floats, slot_N: Ints, question_N: Ints, n_questions: int, *per_answer: Floats, width: int | None = None
) -> tuple[tuple[Floats, ...], Callable[..., tuple[Floats, ...]]]:
    """Sums, and a function of them that gives the Brier score of the best constant confidence of each slot.

    The constant that is best for the very answers it is scored on is better than any that could have been known. Over
    pairs of different questions Q and R, of which Y answers of N in the slot are right, the score of the best constant
    m of the slot, m (1 - m), has the unbiased estimate

        sum_{Q != R} Y_Q (N_R - Y_R) / sum_{Q != R} N_Q N_R

    The function takes sums over questions, each (..., K), of Y, N, what is ``per_answer``, and pairs of a question with
    itself (`own_pairs`). It returns totals over the answers of slots that two questions have, each (...): of the
    constants' scores, of answers, and of ``per_answer``. ``width`` slots are those of all answers, where these are only
    some.
    """
    width = int(slot_N.max(initial=0)) + 1 if width is None else width
    cell_N, size = question_N * width + slot_N, n_questions * width
    sums = tuple(question_sums(cell_N, x_N, size).reshape(n_questions, width) for x_N in (y_N, None, *per_answer))

    def totals(right_K: Floats, count_K: Floats, *rest: Floats) -> tuple[Floats, ...]:
        *of_answers, own_products_K, own_pairs_K = rest
        pairs_K = count_K**2 - own_pairs_K
        has_pairs_K = pairs_K > 0.5
        variance_K = ratio(right_K * (count_K - right_K) - own_products_K, np.where(has_pairs_K, pairs_K, 0.0))
        constants = np.nansum(count_K * variance_K, axis=-1)
        return constants, *((x_K * has_pairs_K).sum(-1) for x_K in (count_K, *of_answers))

    return sums, totals


def own_pairs(right_P_K: Floats, count_P_K: Floats, *_: Floats) -> tuple[Floats, Floats]:
    """Y_Q (N_Q - Y_Q) and N_Q^2, the pairs of a question with itself in `slot_constants`."""
    return right_P_K * (count_P_K - right_P_K), count_P_K**2


def slot_constant(
    y_N: Floats, slot_N: Ints, question_N: Ints, n_questions: int, width: int | None = None
) -> SumStatistic:
    """Brier score of the best constant of each slot (`slot_constants`); n: answers."""
    sums, totals = slot_constants(y_N, slot_N, question_N, n_questions, width=width)
    return SumStatistic(sums, lambda *of: ratio(*totals(*of)), len(y_N), own_pairs=own_pairs)


def beyond_slots(
    q_N: Floats, y_N: Floats, slot_N: Ints, question_N: Ints, n_questions: int, width: int | None = None
) -> SumStatistic:
    """1 - Brier score / that of the best constant of each slot: the skill score against slots; n: answers."""
    sums, totals = slot_constants(y_N, slot_N, question_N, n_questions, brier_terms(q_N, y_N), width=width)

    def skill_score(*of: Floats) -> Floats:
        constants, _, squares = totals(*of)
        return 1 - ratio(squares, constants)

    divisor = Divisor(
        lambda *of: np.nan_to_num(ratio(*totals(*of)[:2])), "the Brier score of the best constant per slot"
    )
    return SumStatistic(sums, skill_score, len(q_N), divisor=divisor, own_pairs=own_pairs)


def gap_beyond_slots(
    q_N: Floats,
    y_N: Floats,
    p_N: Floats,
    slot_N: Ints,
    question_N: Ints,
    n_questions: int,
    width: int | None = None,
) -> SumStatistic:
    """Share of the Brier gap closed from the best constant of each slot to the floor, for answers of known p."""
    has_p_N = ~np.isnan(p_N)
    q, y, p, slot, question = (x_N[has_p_N] for x_N in (q_N, y_N, p_N, slot_N, question_N))
    sums, totals = slot_constants(y, slot, question, n_questions, brier_terms(q, y), p * (1 - p), width=width)

    def gap(*of: Floats) -> Floats:
        constants, count, _, floor = totals(*of)
        return ratio(constants - floor, count)

    def closed(*of: Floats) -> Floats:
        constants, _, squares, floor = totals(*of)
        return ratio(constants - squares, constants - floor)

    divisor = Divisor(gap, "the gap from the best constant per slot to the floor", LEAST_FOR_GAP)
    return SumStatistic(sums, closed, len(q), divisor=divisor, own_pairs=own_pairs)


def of_skill(answers: JudgedTable, layout: SumLayout) -> dict[str, Statistic]:
    """The metrics of this module by name."""
    has_q_A, n = ~np.isnan(answers.q), answers.n_questions
    q_N, y_N, p_N, slot_N, question_N, match_N = compress(
        has_q_A, answers.q, answers.labels, answers.p, answers.slot, answers.answer_question, answers.match
    )
    is_wrong_N = (match_N < 0).astype(float)  # a right answer that repeats an earlier one is no hit, but not wrong
    gates: dict[str, Statistic] = {}
    for gate in GATES:
        passes_N = q_N >= gate - 1e-9
        gates[f"confidently_wrong@{gate}"] = mean_of_items(question_N, is_wrong_N * passes_N, n)
        gates[f"wrong_above@{gate}"] = mean_of_items(question_N[passes_N], is_wrong_N[passes_N], n)
    return {
        "auroc_within_question": within_question(q_N, y_N, question_N, n),
        "auroc_within_slot": within_slot(q_N, y_N, slot_N, question_N, n, layout.keys_U),
        "brier_slot_constant": slot_constant(y_N, slot_N, question_N, n, layout.n_slots),
        "brier_beyond_slots": beyond_slots(q_N, y_N, slot_N, question_N, n, layout.n_slots),
        "brier_gap_closed_beyond_slots": gap_beyond_slots(q_N, y_N, p_N, slot_N, question_N, n, layout.n_slots_of_p),
        **gates,
    }
