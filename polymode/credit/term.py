"""``credit: term``: an advantage for each part of a completion, of what it causes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymode.credit.group import SCALES, divisor_of, group_advantages
from polymode.credit.slots import SlotScores
from polymode.errors import ConfigError, RecordError, one_of

Floats = NDArray[np.float64]


def term_advantages(
    scores: SlotScores,
    group: int,
    *,
    scale: str = "none",
    reasoning: float = 1.0,
    confidence: float = 1.0,
    own_confidence: bool = True,
) -> Floats:
    """Advantages of the parts of each completion, shape (N, 1 + 2 K): the whole, answers 1..K, confidences 1..K.

    With c_i and s_i what answer and confidence i add to the score R, r = R - sum_i (c_i + s_i), and a bar for the
    group's mean::

        whole         R - R̄
        answer i      (C_i - C̄_i) + ρ_i (P_i - P̄_i) + (s_i - s̄_i) + (r - r̄),   C_i = sum_{j≥i} c_j, P_i = sum_{j<i} c_j
        confidence i  (s_i - mean of s_i over the other completions of the batch with the same y_i) + (r - r̄)

    ``whole`` is for tokens outside the slots, the reasoning above all. ρ_i = -cov(C_i, P_i) / var(P_i), from the batch,
    is the control variate that takes out what earlier answers say about later ones.

    What is exact: ``whole`` is the published advantage. P_i is fixed before answer i is sampled, and y_i before q_i
    is, so neither baseline moves the expected gradient; ρ_i is fitted on the same completions, an error of order 1 / N.
    What is left out: the effect of an answer on *later* confidence scores, and of a confidence on later slots. Both are
    weak, because only chance hits link them, and cost more in variance than they bring.

    ``reasoning`` and ``confidence`` multiply the first and the last line (of completions with slots). That changes how
    fast each learns, not what is best: the small, exact credit of confidences is lost under Adam beside the noise of
    the reasoning's, unless it weighs more. In the reward such a weight would be paid for with hedged answers.

    A completion without slots (malformed) gets its whole score everywhere. An unscored one gets 0.

    Args:
        scores: of N = P x G completions, those of a question next to each other.
        group: G.
        reasoning: factor of the credit of tokens outside the slots, above 0.
        confidence: factor of the credit of confidences, above 0.
        scale: one of `SCALES`, of the scores, as in `group_advantages`.
        own_confidence: whether a confidence is credited with its own score; not so where the gradient of that is taken
            over all values that could have been stated (`polymode.training.expected_score`).

    Raises:
        ConfigError: another scale, or a factor that is not positive.
        RecordError: N is no multiple of G, or the shapes differ.
    """
    total_N, hits_NK = scores.total_N, scores.hits_NK
    n = len(total_N)
    shapes = {array.shape for array in (scores.coverage_NK, scores.confidence_NK, hits_NK)}
    if total_N.ndim != 1 or len(shapes) != 1 or hits_NK.ndim != 2 or len(hits_NK) != n:
        raise RecordError("slot scores: totals must have shape (N,), coverage, confidence and hits shape (N, K)")
    if group < 1 or n % group:
        raise RecordError(f"group = {group!r} does not divide the {n} completions: give those of every question")
    one_of("scale", scale, SCALES)
    for name, factor in (("reasoning", reasoning), ("confidence", confidence)):
        if not 0 < factor < np.inf:
            raise ConfigError(f"{name} = {factor!r} must be a positive number; 1 leaves its credit as it is")
    total_PG = total_N.reshape(-1, group)
    whole_PG = group_advantages(total_PG)
    whole_N = whole_PG.reshape(n)

    # NaN is a slot that is not there. Sums need 0 in its place, baselines must leave it out: hence the masks.
    has_slots_N = ~np.isnan(total_N) & ~np.isnan(scores.coverage_NK).all(1)
    has_slot_NK = has_slots_N[:, None] & ~np.isnan(scores.coverage_NK)
    coverage_NK = np.where(has_slot_NK, scores.coverage_NK, 0.0)
    own_NK = np.where(has_slot_NK, scores.confidence_NK, np.nan)
    stated_NK = np.nan_to_num(own_NK)

    # C_i, from answer i to the last, by a cumulative sum from behind; P_i, before answer i, is what is left of C_1.
    to_go_NK = np.cumsum(coverage_NK[:, ::-1], 1)[:, ::-1]
    past_NK = to_go_NK[:, :1] - to_go_NK
    rest_N = total_N - coverage_NK.sum(1) - stated_NK.sum(1)
    to_go_NK, past_NK, stated_NK = (_centred(x, has_slot_NK, group) for x in (to_go_NK, past_NK, stated_NK))
    rest_N1 = _centred(rest_N[:, None], has_slots_N[:, None], group)

    # One ρ_i for each slot, the regression of C_i on P_i over the batch. Slot 1 has no past: 0 / tiny is 0.
    rho_K = -(to_go_NK * past_NK).sum(0) / np.maximum((past_NK**2).sum(0), 1e-12)
    answers_NK = to_go_NK + rho_K * past_NK + stated_NK + rest_N1
    own_credit_NK = _against_same_verdict(own_NK, hits_NK) if own_confidence else 0.0
    confidences_NK = confidence * (own_credit_NK + np.broadcast_to(rest_N1, own_NK.shape))
    outside_N = np.where(has_slots_N, reasoning * whole_N, whole_N)

    parts_NX = np.concatenate([outside_N[:, None], answers_NK, confidences_NK], 1)
    has_part_NX = np.concatenate([np.ones((n, 1), bool), has_slot_NK, has_slot_NK], 1)
    parts_NX = np.where(has_part_NX, parts_NX, whole_N[:, None])
    # The divisors are those of `group_advantages`: of the scores, not of the parts, so that the parts keep their ratio.
    divisor_PG = np.broadcast_to(divisor_of(total_PG, whole_PG, scale), total_PG.shape)
    return parts_NX / divisor_PG.reshape(n, 1)


def _centred(values_NX: Floats, mask_NX: NDArray[np.bool_], group: int) -> Floats:
    """Columns minus their group's mean over the completions in the mask; 0 for the others."""
    n, width = values_NX.shape
    masked_PGX = np.where(mask_NX, values_NX, 0.0).reshape(-1, group, width)
    n_P1X = mask_NX.reshape(-1, group, width).sum(1, keepdims=True)
    centred_PGX = masked_PGX - masked_PGX.sum(1, keepdims=True) / np.maximum(n_P1X, 1)
    return np.where(mask_NX, centred_PGX.reshape(n, width), 0.0)


def _against_same_verdict(confidence_NK: Floats, hits_NK: Floats) -> Floats:
    """Confidence scores minus the mean of the others of the same slot and verdict; 0 where there is no other.

    The baseline must not depend on q_i itself, so it leaves the completion out: with m values of one verdict,
    x - mean of the others = (x - mean of all) m / (m - 1).
    """
    out_NK = np.zeros_like(confidence_NK)
    for verdict in (0.0, 1.0):
        same_NK = (hits_NK == verdict) & ~np.isnan(confidence_NK)
        n_K = same_NK.sum(0)
        mean_K = np.where(same_NK, confidence_NK, 0.0).sum(0) / np.maximum(n_K, 1)
        scaled_NK = (confidence_NK - mean_K) * (n_K / np.maximum(n_K - 1, 1))
        out_NK = np.where(same_NK & (n_K > 1), scaled_NK, out_NK)
    return out_NK
