"""How the lab writes noisy demonstrations from a known distribution, for the warm start.

A demonstration is well-formed and mostly distinct but not good: its answers are sampled, not chosen, and its
confidences are noisy and too high. So a warm-started model knows the format and roughly the task, and reinforcement
learning has something to improve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from polymode.prompts import CONFIDENCE_TEXTS, build_prompt

FORMAT_TEXTS: tuple[str, ...] = (
    *(build_prompt("", k, confidence=c, style="brief") for k in range(1, 6) for c in (False, True)),
    *(f"<answer{i}></answer{i}><confidence{i}></confidence{i}>" for i in ("", 1, 2, 3, 4, 5)),
    *CONFIDENCE_TEXTS,
)
"""Texts that hold every word of a brief request and of the answer format, for a task's vocabulary."""

CANDIDATES = 5
"""Answers named at the end of the reasoning, most likely first: the part that K answers share."""
ANSWER_TEMPERATURE = 1.0
"""Answers are drawn from p^(1/T): above 1, unlikely answers come too often."""
LAPSE = 0.03
"""Share of a uniform draw mixed into the answers."""
CONFIDENCE_NOISE = 0.3
"""Standard deviation of the noise on the log-odds of a stated confidence."""
CONFIDENCE_BIAS = 0.25
"""Shift of the log-odds of a stated confidence: demonstrations are overconfident."""
ESTIMATE_ERROR = 1.0
"""Standard deviation of the log of a probability as a demonstrator estimates it; see ``chance_listed``."""


def write_demonstration(
    reasoning: str,
    distribution: Mapping[str, float],
    answers: Sequence[str],
    k: int,
    *,
    confidence: bool,
    rng: np.random.Generator,
    threshold: float | None = None,
    candidates: int = CANDIDATES,
    conclusion: str | None = None,
    popularity: Mapping[str, float] | None = None,
) -> str:
    """``<think> reasoning ; so candidates </think>`` and K distinct ``answers`` drawn from a blurred ``distribution``.

    Args:
        reasoning: what findings or facts suggest; the most likely candidates follow it.
        distribution: probability of each answer; answers it does not list have probability 0.
        answers: every answer that may be given, at least K.
        k: answers to give.
        confidence: state a confidence after each answer.
        rng: source of all randomness.
        threshold: smallest probability of a right answer where several are right; a confidence is then the chance of
            reaching it (``chance_listed``) instead of the probability itself.
        candidates: number of most likely answers at the end of the reasoning.
        conclusion: the end of the reasoning instead, where answers are too long to be named.
        popularity: relative frequency of each of several ways to express the same; answers it does not list have 1.
    """
    p_N = np.array([distribution.get(name, 0.0) for name in answers])
    drawn_N = p_N ** (1 / ANSWER_TEMPERATURE)
    if popularity is not None:
        drawn_N = drawn_N * np.array([popularity.get(name, 1.0) for name in answers])
    drawn_N = (1 - LAPSE) * drawn_N / drawn_N.sum() + LAPSE / len(answers)
    # The K largest of log p + Gumbel noise are a draw without replacement; they are written most likely first.
    chosen_K = np.argsort(-np.log(drawn_N) - rng.gumbel(size=len(answers)))[:k]
    chosen_K = chosen_K[np.argsort(-p_N[chosen_K], kind="stable")]
    slots = []
    for number, index in enumerate(chosen_K, 1):
        tag = "" if k == 1 else str(number)
        slot = f"<answer{tag}>{answers[index]}</answer{tag}>"
        if confidence:
            p = float(p_N[index])
            stated = _state(p if threshold is None else chance_listed(p, threshold), rng)
            slot += f"<confidence{tag}>{stated}</confidence{tag}>"
        slots.append(slot)
    if conclusion is None:
        likely: list[int] = np.argsort(-p_N, kind="stable")[:candidates].tolist()
        conclusion = ", ".join([answers[i] for i in likely])
    thought = f"{reasoning} ; so {conclusion}".removeprefix(" ; ")
    return f"<think> {thought} </think>{''.join(slots)}"


def chance_listed(p: float, threshold: float) -> float:
    """Chance that an answer of probability ``p`` reaches ``threshold``, for someone who knows log p only roughly.

    Phi((log p - log threshold) / ESTIMATE_ERROR): 1/2 at the threshold, near 1 far above it, 0 at p = 0.
    """
    if p <= 0:
        return 0.0
    return 0.5 * (1 + math.erf(math.log(p / threshold) / (ESTIMATE_ERROR * math.sqrt(2))))


def _state(p: float, rng: np.random.Generator) -> str:
    """A blurred, overconfident confidence for a chance ``p`` of being right, on the grid."""
    p = min(max(p, 0.01), 0.99)
    log_odds = math.log(p / (1 - p)) + CONFIDENCE_BIAS + CONFIDENCE_NOISE * rng.standard_normal()
    return CONFIDENCE_TEXTS[round(20 / (1 + math.exp(-log_odds)))]
