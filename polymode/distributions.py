"""Reference distributions: where they come from, and which may be the target of confidences (layer L1).

A question's distribution is its own field, or the weights of its references: the shares of human votes, of raters, of a
crowd, or a posterior. Weights are a distribution when every reference has one and they sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from polymode.errors import RecordError, one_of
from polymode.types import Example, Reference, Target

SUM_TOLERANCE = 0.01
"""Probabilities whose sum is this close to 1 are a distribution (rounding); weights are then divided by their sum."""
TARGETS: tuple[Target, ...] = get_args(Target)


def distribution_of(example: Example) -> Mapping[str, float] | None:
    """The question's reference distribution: its own, else what the weights of its references say; None without one.

    Probabilities that sum to nearly 1, by rounding, are divided by their sum.
    """
    if example.distribution is None:
        return weights_distribution(example.references)
    total = math.fsum(example.distribution.values())
    if not 1e-9 < abs(total - 1) <= SUM_TOLERANCE:
        return example.distribution
    return {name: mass / total for name, mass in example.distribution.items()}


def weights_distribution(references: Sequence[Reference]) -> Mapping[str, float] | None:
    """The distribution that the weights of all references make, by canonical text; None where they make none."""
    if not references or any(ref.weight is None for ref in references):
        return None
    total = math.fsum(ref.weight or 0.0 for ref in references)
    if abs(total - 1) > SUM_TOLERANCE:
        return None
    masses: dict[str, float] = {}
    for ref in references:
        masses[ref.text] = masses.get(ref.text, 0.0) + (ref.weight or 0.0) / total
    return masses


def with_target(example: Example, target: Target) -> Example:
    """The question with another target of its confidences.

    Raises:
        ConfigError: an unknown target.
        RecordError: ``distribution``, and the question has none; says what is wrong with its weights.
    """
    one_of("target", target, TARGETS)
    changed = example if example.target == target else replace(example, target=target)
    check_target(changed)
    return changed


def check_target(example: Example) -> None:
    """Refuse a question whose target is a distribution that it does not have; raises RecordError with the reason."""
    if example.target != "distribution":
        one_of("target", example.target, TARGETS)
        return
    if example.distribution is not None:
        _check_masses(example.distribution)
        return
    references = example.references
    total = math.fsum(ref.weight or 0.0 for ref in references)
    if not references:
        problem = "the question has no references"
    elif (lacking := next((ref for ref in references if ref.weight is None), None)) is not None:
        problem = f"the reference {lacking.text!r} has no weight"
    elif abs(total - 1) > SUM_TOLERANCE:
        problem = f"the weights of the references sum to {total:.4g}"
    else:
        return
    raise RecordError(
        f"target = 'distribution': {problem}; give every reference a weight, its share, so that they sum to 1 (what is "
        "missing is an answer too), or a field 'distribution', or leave target out"
    )


def _check_masses(masses: Mapping[str, float]) -> None:
    for name, mass in masses.items():
        is_number = isinstance(mass, (int, float)) and not isinstance(mass, bool)
        if not (is_number and 0 <= mass <= 1):
            raise RecordError(f"distribution: {mass!r} of {name!r} is not a probability; give numbers from 0 to 1")
    if abs((total := math.fsum(masses.values())) - 1) > SUM_TOLERANCE:
        raise RecordError(
            f"distribution: probabilities sum to {total:.6g}; they must sum to 1, with the missing answers added"
        )
