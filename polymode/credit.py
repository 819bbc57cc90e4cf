"""From scores to advantages (layer L2): one for each completion, or one for each part of a completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError, one_of
from polymode.types import AnswerSet

Floats = NDArray[np.float64]

SCALES = ("none", "batch", "group")
"""What centred scores may be divided by: nothing, the deviation of the whole batch, the deviation of each group."""
EPSILON = 1e-4
"""Added to the deviation before dividing, as in TRL."""


def group_advantages(
    totals_PG: ArrayLike | Sequence[float | None] | Sequence[Sequence[float | None]],
    *,
    scale: str = "none",
    calibrated: bool = False,
) -> Floats:
    """Scores minus their group's mean, optionally divided by a standard deviation.

    ::

        A_g = R_g - mean_g R_g                    scale "none"
        A_g = (R_g - mean_g R_g) / (s + ε)        s over all scores ("batch") or over the group's ("group"), n - 1

    The group's own deviation rewards overconfidence (Bereket & Leskovec, https://arxiv.org/abs/2508.11800): it makes a
    rare large Brier penalty no bigger than a frequent small gain. It is refused for calibrated rewards.

    Args:
        totals_PG: scores, shape (P, G), or (G,) for one group. None and NaN are unscored.
        scale: one of `SCALES`.
        calibrated: whether the scores hold a Brier term.

    Returns:
        Advantages of the same shape; 0 for an unscored completion, which is left out of mean and deviation.

    Raises:
        ConfigError: unknown scale, or ``group`` with a calibrated reward.
        RecordError: a score that is infinite or no number, or another number of axes.
    """
    one_of("scale", scale, SCALES)
    if scale == "group" and calibrated:
        raise ConfigError(
            "scale = 'group' with a calibrated reward: dividing by each group's deviation breaks proper scoring "
            "(arXiv 2508.11800); use 'none' or 'batch'"
        )
    try:
        scores_PG = np.asarray(totals_PG, dtype=np.float64)
    except (TypeError, ValueError):
        raise RecordError("totals: give numbers or None, every group with the same number of completions") from None
    if scores_PG.ndim not in (1, 2):
        raise RecordError(
            f"totals: shape {scores_PG.shape} is not allowed; give (groups, completions) or (completions,)"
        )
    if np.isinf(scores_PG).any():
        raise RecordError("totals: an infinite score has no advantage; use None for an unscored completion")
    n_P1 = (~np.isnan(scores_PG)).sum(axis=-1, keepdims=True)
    centred_PG = np.nan_to_num(scores_PG - np.nansum(scores_PG, axis=-1, keepdims=True) / np.maximum(n_P1, 1))
    return centred_PG / _divisor(scores_PG, centred_PG, scale)


def _divisor(scores_PG: Floats, centred_PG: Floats, scale: str) -> Floats | float:
    """What ``scale`` divides centred scores by, one number or shape (P, 1): a deviation with n - 1, or 1."""
    is_scored_PG = ~np.isnan(scores_PG)
    if scale == "batch":
        return EPSILON + (scores_PG[is_scored_PG].std(ddof=1) if is_scored_PG.sum() > 1 else 0.0)
    if scale == "group":
        n_P1 = is_scored_PG.sum(axis=-1, keepdims=True)
        return EPSILON + np.sqrt((centred_PG**2).sum(axis=-1, keepdims=True) / np.maximum(n_P1 - 1, 1))
    return 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SlotScores:
    """Scores of N completions, taken apart by slot. Slots that a completion does not have are NaN."""

    total_N: Floats
    """The whole score; NaN when unscored."""
    coverage_NK: Floats
    """What answer i adds to the coverage term."""
    confidence_NK: Floats
    """What confidence i adds to the calibration term; NaN where none is asked for."""
    hits_NK: Floats


def term_advantages(
    scores: SlotScores, group: int, *, scale: str = "none", reasoning: float = 1.0, confidence: float = 1.0
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
    confidences_NK = confidence * (_against_same_verdict(own_NK, hits_NK) + rest_N1)
    outside_N = np.where(has_slots_N, reasoning * whole_N, whole_N)

    parts_NX = np.concatenate([outside_N[:, None], answers_NK, confidences_NK], 1)
    has_part_NX = np.concatenate([np.ones((n, 1), bool), has_slot_NK, has_slot_NK], 1)
    parts_NX = np.where(has_part_NX, parts_NX, whole_N[:, None])
    # The divisors are those of `group_advantages`: of the scores, not of the parts, so that the parts keep their ratio.
    divisor_PG = np.broadcast_to(_divisor(total_PG, whole_PG, scale), total_PG.shape)
    return parts_NX / divisor_PG.reshape(n, 1)


def token_parts(answers: AnswerSet, text: str, starts: Sequence[int], k: int) -> NDArray[np.int64]:
    """Part of each token, shape (T,): 0 outside the slots, i for answer i in 1..K, K + i for confidence i.

    A slot reaches from the ``<`` of its opening tag to the ``>`` of its closing tag. A token across a border belongs
    where it starts.

    Args:
        answers: what was read from ``text``; without answers every token is of the whole.
        text: the completion that the spans count in.
        starts: first character of each token, not decreasing.
        k: width of the advantages' K, at least the number of answers.
    """
    part_T = np.zeros(len(starts), dtype=np.int64)
    for i, answer in enumerate(answers.answers, 1):
        for span, part in ((answer.span, i), (answer.confidence_span, k + i)):
            if span is not None:
                slot = text.rfind("<", 0, span.start), text.index(">", text.index("<", span.end)) + 1
                first, last = np.searchsorted(starts, slot)
                part_T[first:last] = part
    return part_T


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
