"""``credit: dcpo`` and ``credit: coca``: separate advantages for confidences and for everything else (two baselines).

Both methods give each confidence a reward of its own, and divide every advantage by its group's deviation, as GRPO
does. They differ in the order of confidence and answer, in what a confidence is compared with, and in how.

Sources: DCPO, "Decoupling Reasoning and Confidence", https://arxiv.org/abs/2603.09117, read at second hand. CoCA,
"Confidence Before Answering", https://arxiv.org/abs/2603.05881, of which we know the abstract ("segmented credit
assignment", "separate rewards and group-relative advantages to confidence and answer segments", the confidence being
the "probability of answering the question correctly under its current policy"), and the formulas as a public
reimplementation has them (https://github.com/khanhngoo/MedCoCA). Both are for one answer. For answer sets, and for what
a malformed completion gets, the formulas are our reading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymode.credit.group import group_advantages
from polymode.credit.slots import Order, SlotScores

Floats = NDArray[np.float64]

OWN_SHARE = 0.5
"""1 - λ of DCPO: weight of the completion's own verdict in the target of its confidence, as in the published code."""


def dcpo_advantages(scores: SlotScores, group: int) -> Floats:
    """DCPO's advantages of the parts of each completion, shape (N, 1 + 2 K), as `term_advantages` returns them.

    ::

        whole, answers   (A - Ā) / (σ_A + ε)       A = R - sum_i s_i, the score without the confidences'
        confidence i     (B_i - B̄_i) / (σ_i + ε)   B_i = -|q_i - (λ ȳ_i + (1 - λ) y_i)|

    Bars and deviations are over the group, those of slot i over its completions with slots. A confidence is told from
    everything else, but not who caused what among the answers, and two properties of ours are given up: the absolute
    error is no proper score (with λ = 0 the best confidence is 0 or 1; with λ = 1 it is the group's rate whatever the
    answer is), and the group's deviation makes a rare large error no bigger than a frequent small one
    (https://arxiv.org/abs/2508.11800).

    A completion that is malformed, or states its confidences before its answers, gets the first line everywhere, and
    an unscored one 0.

    Args:
        scores: of N = P x G completions, those of a question next to each other.
        group: G.

    Raises:
        RecordError: N is no multiple of G, or the shapes differ.
    """
    has_slot_NK, rate_NK = _slots_and_rates(scores, group, scores.order_N != Order.CONFIDENCE_FIRST)
    target_NK = (1 - OWN_SHARE) * rate_NK + OWN_SHARE * scores.labels_NK
    return _segments(scores, group, np.where(has_slot_NK, -np.abs(scores.q_NK - target_NK), np.nan))


def coca_advantages(scores: SlotScores, group: int) -> Floats:
    """CoCA's advantages of the parts of each completion, shape (N, 1 + 2 K), as `term_advantages` returns them.

    As `dcpo_advantages`, but for completions that state each confidence before its answer, and with::

        confidence i     (B_i - B̄_i) / (σ_i + ε)   B_i = -(q_i - ȳ_i)²

    ȳ_i is the share of hits that the group's completions of this order have in slot i: an estimate of the probability
    that answer i will be right, which is what can be known before it is given. So q_i is of the question and not of the
    answer that follows. The squared error is proper for that probability, up to the group's deviation (see there).

    Differences to the published method: its confidence is the first thing that a completion says, ours follows the
    reasoning, if there is some. Each slot has a target of its own. A completion without slots in this order is
    left out of ȳ_i and gets the first line everywhere; the reimplementation counts its answer, and gives a confidence
    that cannot be read a reward of -1.

    Args:
        scores: of N = P x G completions, those of a question next to each other.
        group: G.

    Raises:
        RecordError: N is no multiple of G, or the shapes differ.
    """
    has_slot_NK, rate_NK = _slots_and_rates(scores, group, scores.order_N == Order.CONFIDENCE_FIRST)
    return _segments(scores, group, np.where(has_slot_NK, -((scores.q_NK - rate_NK) ** 2), np.nan))


def _slots_and_rates(
    scores: SlotScores, group: int, is_in_order_N: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Floats]:
    """Which slots have a confidence to credit, and the mean label of each slot over those of its group."""
    scores.check(group)
    has_slot_NK = (is_in_order_N & ~np.isnan(scores.total_N))[:, None] & ~np.isnan(scores.q_NK)
    k = has_slot_NK.shape[1]
    labels_PGK = np.where(has_slot_NK, scores.labels_NK, 0.0).reshape(-1, group, k)
    n_PK = has_slot_NK.reshape(-1, group, k).sum(1)
    return has_slot_NK, np.repeat(labels_PGK.sum(1) / np.maximum(n_PK, 1), group, 0)


def _segments(scores: SlotScores, group: int, rewards_NK: Floats) -> Floats:
    """Advantages of the parts from a reward of each confidence, NaN where there is none to credit."""
    n, k = rewards_NK.shape
    answers_N = scores.total_N - np.nansum(scores.confidence_NK, 1)
    whole_N1 = group_advantages(answers_N.reshape(-1, group), scale="group").reshape(n, 1)
    by_slot = [group_advantages(rewards_NK[:, i].reshape(-1, group), scale="group").reshape(n) for i in range(k)]
    confidences_NK = np.where(np.isnan(rewards_NK), whole_N1, np.stack(by_slot, 1))
    return np.concatenate([np.repeat(whole_N1, 1 + k, 1), confidences_NK], 1)
