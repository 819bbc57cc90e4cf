"""Proper scores for confidences, as losses from 0 (certain and right) to 1 (certain and wrong).

For one answer with confidence q and label y, let r = q if y = 1, else 1 - q, the probability given to what happened:

========= ======================================= ===========================================================
brier     (q - y)²                                strictly proper
log       (ln(1 - ε) - ln r') / ln((1 - ε) / ε)   r' = r cut to [ε, 1 - ε]; strictly proper in between
spherical 1 - r / √(q² + (1 - q)²)                strictly proper
========= ======================================= ===========================================================

*Proper*: with P(y = 1) = p the expected loss is least at q = p (Gneiting & Raftery, 2007,
https://doi.org/10.1198/016214506000001437). The cut is on the confidence, not on the loss: a cut loss would make q = 0
better than a small honest q. Every loss spans exactly 1 at q = 0, so one condition on the weights serves all
(`polymode.rewards.conditions`); without the cut the log score has no such bound (https://arxiv.org/abs/2507.16806).

*Soft labels.* Where the label is a probability w (the share of votes, a posterior) the loss is the expected one less
its least value, the divergence of the score::

    D(q, w) = w S(q, 1) + (1 - w) S(q, 0) - [w S(w, 1) + (1 - w) S(w, 0)]          brier: D(q, w) = (q - w)²

It differs from E_y S(q, y), y ~ Bernoulli(w), by a number that no confidence can change (for Brier w (1 - w)): so it
has the same gradient in q, is least, 0, at q = w, and never above 1. What it leaves out depends on the answer, and
would charge an uncertain answer although the uncertainty is the question's. At w = 0 and 1 it is S itself.

``other`` is the log score of a whole set when at most one answer can be right: K answers and the rest, "none of these",
with probability 1 - Σ q (hypotheses with an "other" bucket, https://possibilities.kingdomofends.org/framework).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import fsum, hypot, log
from typing import Any

from polymode.errors import ConfigError
from polymode.plugins import Entry, Registry

SCORES: Registry[Any] = Registry(
    "confidence_score",
    {
        "brier": Entry("polymode.rewards.proper:brier_loss", "squared error"),
        "log": Entry("polymode.rewards.proper:log_loss", "log score, cut at 0.01"),
        "spherical": Entry("polymode.rewards.proper:spherical_loss", "spherical score"),
        "other": Entry("polymode.rewards.proper:other_loss", 'log score of the set and "none of these"'),
    },
)
"""Proper scores by name. One of your own is a function of q and y, of single answers, with values from 0 to 1;
`check_proper` looks whether it is one."""

CLIP = 0.01
"""ε, least probability that the log scores tell from 0."""


def brier_loss(q: float, y: float) -> float:
    """(q - y)², in [0, 1]."""
    return (q - y) ** 2


def log_loss(q: float, y: float) -> float:
    """Log score of q cut to [ε, 1 - ε], scaled to [0, 1]: ``log_loss(1.0, 1)`` is 0, ``log_loss(0.0, 1)`` is 1."""
    r = min(max(q if y else 1 - q, CLIP), 1 - CLIP)
    return log((1 - CLIP) / r) / log((1 - CLIP) / CLIP)


def spherical_loss(q: float, y: float) -> float:
    """1 minus the cosine between (q, 1 - q) and what happened, in [0, 1]."""
    return 1 - (q if y else 1 - q) / hypot(q, 1 - q)


def soft_loss(loss: Callable[[float, float], float], q: float, w: float) -> float:
    """The divergence D(q, w) of a proper score ``loss``, in [0, 1]; 0 at q = w.

    >>> round(soft_loss(brier_loss, 0.75, 0.5), 4)  # (q - w)²
    0.0625
    """
    excess = w * (loss(q, 1) - loss(w, 1)) + (1 - w) * (loss(q, 0) - loss(w, 0))
    return 0.0 if -1e-12 < excess < 0 else excess


loss_of = lru_cache(maxsize=64)(SCORES.load)
"""The loss of a single answer by the name of its score, which is looked up for every completion."""


@lru_cache(maxsize=64)
def check_proper(name: str) -> None:
    """Refuse a score of single answers under which something else than the honest confidence is best.

    Looked at for p = 0.05, 0.10, ..., 0.95 and confidences q = 0, 0.01, ..., 1. A score that fails on them is left to
    scoring, which says on what.

    Raises:
        ConfigError: at one of them p S(q, 1) + (1 - p) S(q, 0) is less than at q = p.
    """
    loss, grid = loss_of(name), [step / 100 for step in range(101)]
    try:
        right_Q, wrong_Q = ([float(loss(q, y)) for q in grid] for y in (1, 0))
    except Exception:
        return
    for at in range(5, 100, 5):
        p = grid[at]
        expected_Q = [p * right + (1 - p) * wrong for right, wrong in zip(right_Q, wrong_Q, strict=True)]
        best = min(range(101), key=expected_Q.__getitem__)
        if expected_Q[best] < expected_Q[at] - 1e-9:
            raise ConfigError(
                f"confidence_score = {name!r} is not proper: for an answer that is right with probability {p:g} it is "
                f"best to state {grid[best]:g}, so training would teach confidences that are not honest; use "
                "brier, log or spherical, or a proper score of your own"
            )


def other_loss(confidences: Sequence[float], labels: Sequence[float]) -> float:
    """Log score of K answers and "none of these", scaled to [0, 1].

    With π_i = q_i and π_0 = 1 - Σ q, or π_i = q_i / Σ q and π_0 = 0 where Σ q > 1, and i* the answer that is right
    (0: none is)::

        loss = (ln(1 - K ε) - ln π'_i*) / (ln(1 - K ε) - ln ε)

    With soft labels w, and w_0 = 1 - Σ w, it is the expected loss less its least value, which is a KL divergence::

        loss = Σ_i w_i (ln w'_i - ln π'_i) / (ln(1 - K ε) - ln ε)

    π' is the distribution with no mass below ε that is nearest to π (least Kullback-Leibler divergence), so honest
    confidences are best, small ones included. Where Σ q > 1 only the shares count, which alone would not keep Σ q down:
    pair it with the soft penalty of ``confidences = "exclusive"``.

    Args:
        confidences: q_i in [0, 1], K of them.
        labels: in [0, 1], with a sum of at most 1: one of them 1 or none, or soft labels.

    >>> round(other_loss([0.6, 0.3], [0, 0]), 4)  # π_0 = 0.1: ln(0.98 / 0.1) / ln(0.98 / 0.01)
    0.4978
    """
    total = fsum(confidences)
    masses = [q / total for q in confidences] if total > 1 else list(confidences)
    masses.append(max(0.0, 1 - total))
    happened = [*labels, max(0.0, 1 - fsum(labels))]
    best = 1 - len(confidences) * CLIP
    losses = [w * log(b / a) for w, a, b in zip(happened, _raised(masses), _raised(happened), strict=True)]
    return max(0.0, fsum(losses) / log(best / CLIP))


def _raised(masses: Sequence[float]) -> list[float]:
    """Masses below ε raised to it, the others scaled down together: the nearest distribution without smaller ones."""
    low: set[int] = set()
    while True:
        scale = (1 - len(low) * CLIP) / fsum(mass for i, mass in enumerate(masses) if i not in low)
        more = {i for i, mass in enumerate(masses) if mass * scale < CLIP} - low
        if not more:
            return [CLIP if i in low else mass * scale for i, mass in enumerate(masses)]
        low |= more
