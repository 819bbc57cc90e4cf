"""Demonstrations of short answers where a task cannot say how likely each is: right ones, and wrong ones of their kind.

They teach a model the answer format and the length of an answer, as the first step of training: what they state is
better than a constant and far from calibrated, so confidences are left for reinforcement learning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polymode.errors import ConfigError
from polymode.prompts import CONFIDENCE_TEXTS, write_answers
from polymode.tasks.lab.demonstrations import CONFIDENCE_NOISE

RIGHT_SHARE = 0.6
"""Share of right answers, where there are as many."""
CONFIDENCE_OF_RIGHT, CONFIDENCE_OF_WRONG = 0.8, 0.4
"""What is stated, before noise."""


def write_guesses(
    right: Sequence[str], wrong: Sequence[str], k: int, *, confidence: bool, rng: np.random.Generator
) -> str:
    """K distinct answers in tags without reasoning, some of them wrong; the most confident first, with noise.

    The number of right ones is binomial with `RIGHT_SHARE`, as far as there are so many right and wrong ones.

    Args:
        right: right answers, all different.
        wrong: wrong ones, different from those and from each other; together at least K.
        k: answers to give.
        confidence: state a confidence after each.
        rng: source of all randomness.

    Raises:
        ConfigError: fewer than K answers.
    """
    if len(right) + len(wrong) < k:
        raise ConfigError(
            f"k = {k} in demonstrations: the data hold only {len(right) + len(wrong)} different answers of this kind; "
            "lower --k, or use more questions"
        )
    n_right = int(rng.binomial(k, RIGHT_SHARE)) if wrong else k
    n_right = min(max(n_right, k - len(wrong)), len(right))
    log_odds = [_log_odds(CONFIDENCE_OF_RIGHT)] * n_right + [_log_odds(CONFIDENCE_OF_WRONG)] * (k - n_right)
    noisy_K = np.array(log_odds) + CONFIDENCE_NOISE * rng.standard_normal(k)
    texts = [*rng.permutation(list(right))[:n_right], *rng.permutation(list(wrong))[: k - n_right]]
    order = np.argsort(-noisy_K, kind="stable")
    stated = [CONFIDENCE_TEXTS[round(20 / (1 + math.exp(-noisy_K[i])))] for i in order] if confidence else None
    return write_answers([str(texts[i]) for i in order], stated, "full")


def _log_odds(p: float) -> float:
    return math.log(p / (1 - p))
