"""Exact quantities of a lab question, whose truth is known: the best coverage and the probability of an answer."""

from __future__ import annotations

from polymode.errors import ConfigError
from polymode.types import Example


def best_coverage(example: Example, k: int) -> float:
    """Largest expected number of distinct references that K answers can find: sum of the K largest p_correct."""
    if example.p_correct is None:
        raise ConfigError(f"example {example.id!r} carries no p_correct: the best possible coverage is not known")
    return float(sum(sorted(example.p_correct.values(), reverse=True)[:k]))


def p_correct(example: Example, answer: str) -> float:
    """True probability that ``answer`` (a possible answer as the task writes it) is correct; 0 for anything else."""
    if example.p_correct is None:
        raise ConfigError(f"example {example.id!r} carries no p_correct: true probabilities are not known")
    return float(example.p_correct.get(answer, 0.0))
