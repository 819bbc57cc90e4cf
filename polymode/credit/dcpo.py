"""``credit: dcpo``: separate advantages for confidences and for everything else (DCPO), as a baseline to compare with.

Source: "Decoupling Reasoning and Confidence", https://arxiv.org/abs/2603.09117, read at second hand, for one answer.
For answer sets, and for what a malformed completion gets, the formulas are our reading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymode.credit.group import group_advantages
from polymode.credit.slots import SlotScores

Floats = NDArray[np.float64]

OWN_SHARE = 0.5
"""1 - λ: weight of the completion's own verdict in the target of its confidence, as in the published code."""


def dcpo_advantages(scores: SlotScores, group: int) -> Floats:
    """Advantages of the parts of each completion, shape (N, 1 + 2 K), as `term_advantages` returns them.

    ::

        whole, answers   (A - Ā) / (σ_A + ε)       A = R - sum_i s_i, the score without the confidences'
        confidence i     (B_i - B̄_i) / (σ_i + ε)   B_i = -|q_i - (λ ȳ_i + (1 - λ) y_i)|

    Bars and deviations are over the group, those of slot i over its completions with slots. A confidence is told from
    everything else, but not who caused what among the answers, and two properties of ours are given up: the absolute
    error is no proper score (with λ = 0 the best confidence is 0 or 1; with λ = 1 it is the group's rate whatever the
    answer is), and the group's deviation makes a rare large error no bigger than a frequent small one
    (https://arxiv.org/abs/2508.11800).

    A malformed completion gets the first line everywhere, and an unscored one 0.

    Args:
        scores: of N = P x G completions, those of a question next to each other.
        group: G.

    Raises:
        RecordError: N is no multiple of G, or the shapes differ.
    """
    scores.check(group)
    n, k = scores.labels_NK.shape
    answers_N = scores.total_N - np.nansum(scores.confidence_NK, 1)
    whole_N1 = group_advantages(answers_N.reshape(-1, group), scale="group").reshape(n, 1)

    has_q_NK = ~np.isnan(scores.total_N)[:, None] & ~np.isnan(scores.q_NK)
    hits_PGK = np.where(has_q_NK, scores.labels_NK, 0.0).reshape(-1, group, k)
    n_P1K = has_q_NK.reshape(-1, group, k).sum(1, keepdims=True)
    rate_NK = np.repeat(hits_PGK.sum(1) / np.maximum(n_P1K[:, 0], 1), group, 0)
    target_NK = (1 - OWN_SHARE) * rate_NK + OWN_SHARE * scores.labels_NK
    score_NK = np.where(has_q_NK, -np.abs(scores.q_NK - target_NK), np.nan)
    by_slot = [group_advantages(score_NK[:, i].reshape(-1, group), scale="group").reshape(n) for i in range(k)]
    confidences_NK = np.where(has_q_NK, np.stack(by_slot, 1), whole_N1)
    return np.concatenate([np.repeat(whole_N1, 1 + k, 1), confidences_NK], 1)
