"""``credit: term``: an advantage for each part of a completion, of what it causes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymode.credit.baselines import against_others, same_verdict_mean, without_past
from polymode.credit.group import SCALES, divisor_of, group_advantages, shrink_of
from polymode.credit.slots import Order, SlotScores
from polymode.errors import ConfigError, one_of

Floats = NDArray[np.float64]


def term_advantages(
    scores: SlotScores,
    group: int,
    *,
    scale: str = "none",
    reasoning: float = 1.0,
    confidence: float = 1.0,
    later: float = 0.0,
    own_confidence: bool | NDArray[np.bool_] = True,
) -> Floats:
    """Advantages of the parts of each completion, shape (N, 1 + 2 K): the whole, answers 1..K, confidences 1..K.

    With c_i and s_i what answer and confidence i add to the score R, r = R - sum_i (c_i + s_i), a bar for the group's
    mean and ' for "minus the mean of the others of the group, minus what the past predicts" (`without_past`)::

        whole         R - R̄
        answer i      (R - past)',  past = sum of c_j and s_j of the slots before it
        confidence i  s_i - b(y_i)  +  r'  +  later x (R - r - past - s_i)',   past now with c_i

    b is what the confidences of other completions would score under the verdict y_i (`same_verdict_mean`). The last two
    lines are times (G - 1) / G, as the first is in expectation.

    **Expectation.** The first two lines, and all three with ``later = 1``, are the gradient of E R times (G - 1) / G,
    as ``sequence`` is, exactly and for any number of completions: baselines hold other completions and the past only.
    With ``later = 0``, the default, a confidence is not credited with what it causes in *later* slots (in interleaved
    text answer 2 sees confidence 1). That is not the gradient of R, and pays: it takes out most of the noise, and with
    nothing but its own proper score a confidence is best when honest, whatever later answers make of it
    (docs/credit.md has the figures).

    **Malformed completions** get their whole score everywhere, since their slots cannot be told apart, and so do those
    that state each confidence before its answer, since y_i is not fixed when q_i is sampled; the others of the group
    get the difference of their mean score to the group's on top. What is not exact then is what the past does to the
    format, which is taken out of the one kind and not of the other. An unscored completion gets 0. One that is alone
    in its group with slots gets its whole score.

    ``reasoning`` and ``confidence`` multiply the first and the last line (of completions with slots): how fast each
    learns. Where all parts share their weights and their step, that is paid for by the other parts.

    Args:
        scores: of N = P x G completions, those of a question next to each other.
        group: G.
        scale: one of `SCALES`, of the scores, as in `group_advantages`.
        reasoning: factor of the credit of tokens outside the slots, above 0.
        confidence: factor of the credit of confidences, above 0.
        later: share of later slots in a confidence's credit, from 0 to 1.
        own_confidence: whether a confidence is credited with its own score, for all or each, shape (N, K); not so where
            the gradient of that is taken over all values that could have been stated
            (`polymode.training.expected_score`).

    Raises:
        ConfigError: another scale, or a factor out of its range.
        RecordError: N is no multiple of G, or the shapes differ.
    """
    scores.check(group)
    one_of("scale", scale, SCALES)
    for name, factor in (("reasoning", reasoning), ("confidence", confidence)):
        if not 0 < factor < np.inf:
            raise ConfigError(f"{name} = {factor!r} must be a positive number; 1 leaves its credit as it is")
    if not 0 <= later <= 1:
        raise ConfigError(f"later = {later!r} must be from 0 (own score only) to 1 (later slots too)")
    total_PG = scores.total_N.reshape(-1, group)
    whole_PG = group_advantages(total_PG)
    whole_N = whole_PG.reshape(-1)

    # NaN is a slot that is not there. Sums need 0 in its place, baselines must leave it out: hence the masks.
    is_scored_N1 = ~np.isnan(scores.total_N)[:, None]
    is_in_order_N1 = scores.order_N[:, None] != Order.CONFIDENCE_FIRST
    has_slot_NK = is_scored_N1 & is_in_order_N1 & ~np.isnan(scores.coverage_NK)
    total_N1 = np.nan_to_num(scores.total_N)[:, None]
    coverage_NK, stated_NK, labels_NK = (
        np.where(has_slot_NK, np.nan_to_num(x_NK), 0.0)
        for x_NK in (scores.coverage_NK, scores.confidence_NK, scores.labels_NK)
    )
    all_coverage_N1, all_stated_N1 = coverage_NK.sum(1, keepdims=True), stated_NK.sum(1, keepdims=True)
    rest_NK = np.broadcast_to(total_N1 - all_coverage_N1 - all_stated_N1, has_slot_NK.shape)

    # What is fixed before answer i, and before confidence i. In blocked text all answers come before all confidences.
    is_blocked_N1 = scores.order_N[:, None] == Order.BLOCKED
    earlier_coverage_NK = np.cumsum(coverage_NK, 1) - coverage_NK
    earlier_stated_NK = np.cumsum(stated_NK, 1) - stated_NK
    stated_before_answer_NK = np.where(is_blocked_N1, 0.0, earlier_stated_NK)
    answers_before_NK = np.where(is_blocked_N1, all_coverage_N1, earlier_coverage_NK + coverage_NK)

    answers_NK = without_past(
        total_N1 - earlier_coverage_NK - stated_before_answer_NK,
        (earlier_coverage_NK, stated_before_answer_NK),
        has_slot_NK,
        group,
    )
    confidences_NK = against_others(rest_NK, has_slot_NK, group)
    if np.any(own_confidence):
        # s_i but for what no confidence can change: soft labels are scored by the loss over its least.
        own_NK = np.nan_to_num(labels_NK * scores.if_hit_NK + (1 - labels_NK) * scores.if_miss_NK)
        mean_NK = same_verdict_mean(scores.if_hit_NK, scores.if_miss_NK, labels_NK, has_slot_NK)
        confidences_NK += np.where(has_slot_NK & own_confidence, own_NK - mean_NK, 0.0)
    if later:
        later_NK = total_N1 - rest_NK - answers_before_NK - earlier_stated_NK - stated_NK
        past = (answers_before_NK, earlier_stated_NK, labels_NK)
        confidences_NK += later * without_past(later_NK, past, has_slot_NK, group)

    # What a completion with slots is worth more than its group, which the centring within those with slots took out:
    # the credit of the format. 0 where no completion of the group is malformed.
    totals_NK = np.broadcast_to(total_N1, has_slot_NK.shape)
    is_scored_NK = np.broadcast_to(is_scored_N1, has_slot_NK.shape)
    with_slots_NK, scored_NK = (against_others(totals_NK, mask, group) for mask in (has_slot_NK, is_scored_NK))
    format_NK = np.where(has_slot_NK, scored_NK - with_slots_NK, 0.0)
    shrink_N1 = np.repeat(shrink_of(total_PG), group, 0)
    answers_NK = shrink_N1 * (answers_NK + format_NK)
    confidences_NK = confidence * shrink_N1 * (confidences_NK + format_NK)
    outside_N = np.where(has_slot_NK.any(1), reasoning * whole_N, whole_N)

    slots_PGK = has_slot_NK.reshape(-1, group, has_slot_NK.shape[1])
    is_alone_NK = np.repeat(slots_PGK.sum(1) < 2, group, 0)
    has_part_NX = np.tile(has_slot_NK & ~is_alone_NK, 2)
    slots_NX = np.where(has_part_NX, np.concatenate([answers_NK, confidences_NK], 1), whole_N[:, None])
    # The divisors are those of `group_advantages`: of the scores, not of the parts, so that the parts keep their ratio.
    divisor_PG = np.broadcast_to(divisor_of(total_PG, whole_PG, scale), total_PG.shape)
    return np.concatenate([outside_N[:, None], slots_NX], 1) / divisor_PG.reshape(-1, 1)
