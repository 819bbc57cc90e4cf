"""Which values each metric can have, by name: intervals end there (layer L2)."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from polymode.metrics.scores import NLL_EPS
from polymode.uncertainty import Limits, Statistic, SumStatistic

_FROM_0, _ANY = (0.0, math.inf), (-math.inf, math.inf)
_LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("recall", "capped_recall", "precision", "any_hit", "pass@", "malformed_rate"), (0.0, 1.0)),
    **dict.fromkeys(("uniqueness", "modal_share@", "overlap_", "coverage_of_best", "total_variation"), (0.0, 1.0)),
    **dict.fromkeys(("brier", "brier_reliability", "brier_resolution", "brier_excess"), (0.0, 1.0)),
    **dict.fromkeys(("ece", "ece_debiased", "ece_equal_mass", "ece_top1", "pce", "auroc", "aurc"), (0.0, 1.0)),
    **dict.fromkeys(("auroc_within_question", "auroc_within_slot", "confidently_wrong@", "wrong_above@"), (0.0, 1.0)),
    **dict.fromkeys(("brier_beyond_slots", "brier_gap_closed_beyond_slots"), (-math.inf, 1.0)),
    **dict.fromkeys(("brier_floor", "brier_constant", "brier_slot_constant", "brier_uncertainty"), (0.0, 0.25)),
    **dict.fromkeys(("brier_gap_closed", "brier_gap_closed_expected"), (-math.inf, 1.0)),
    **dict.fromkeys(("brier_within", "expected_hits_bias", "sum_to_one_bias"), _ANY),
    "nll": (0.0, -math.log(NLL_EPS)),
    **dict.fromkeys(("coverage", "coverage@", "best_coverage", "coverage_at_equal_tokens", "mean_hits"), _FROM_0),
    **dict.fromkeys(("mean_sum_confidence", "expected_hits_error", "kl", "kl_uniform@"), _FROM_0),
    **dict.fromkeys(("distinct_by_ast", "distinct_by_behaviour", "unique_answers@"), _FROM_0),
    **dict.fromkeys(("tokens_per_completion", "tokens_per_set", "tokens_per_reference"), _FROM_0),
}
SHARES = (
    *("recall", "capped_recall", "precision", "any_hit", "pass@", "malformed_rate", "coverage", "coverage@"),
    *("confidently_wrong@", "wrong_above@"),
)
"""Metrics that count outcomes of possible ones."""
VARIANCES = ("brier_constant", "brier_slot_constant", "brier_uncertainty")
"""Metrics that are p (1 - p) of shares p."""
_OF_K = ("coverage", "coverage@", "best_coverage", "mean_hits", "mean_sum_confidence", "expected_hits_error")
_BEYOND_K = ("expected_hits_bias", "sum_to_one_bias")
"""Sums of K confidences minus K verdicts."""


def family_of(name: str) -> str:
    """The name up to its number: ``pass@`` for pass@4, ``overlap_`` for overlap_3gram."""
    match = re.match(r".*?@|overlap_", name)
    return match[0] if match else name


def limits_of(name: str, k: int | None = None) -> Limits:
    """Least and greatest possible value of a metric of sets of ``k`` answers; those of one's own have none."""
    low, high = _LIMITS.get(family_of(name), _ANY)
    if k is None:
        return low, high
    if family_of(name) in _BEYOND_K:
        return -float(k), float(k)
    return (low, float(k)) if family_of(name) in _OF_K else (low, high)


def with_limits(name: str, statistic: Statistic, k: int | None = None) -> Statistic:
    """The statistic with the limits of its metric, unless the questions set closer ones, and with what it counts."""
    limits = statistic.limits if math.isfinite(statistic.limits[1]) else limits_of(name, k)
    if isinstance(statistic, SumStatistic):
        family = family_of(name)
        return replace(statistic, limits=limits, is_share=family in SHARES, is_variance=family in VARIANCES)
    return replace(statistic, limits=limits)
