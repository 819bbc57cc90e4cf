"""Intervals for metrics: a bootstrap that resamples whole questions, exact limits, seeds (layer L2).

Completions of one question share its difficulty, so they are not independent observations; questions are. Which
interval a metric gets is said in `polymode.uncertainty.intervals`; docs/metrics.md holds the rules and what was
simulated. Axes: ``_P`` question, ``_R`` replicate, ``_S`` column of sums, ``_N`` flat items, ``_B`` bin.
"""

from polymode.uncertainty.estimates import bootstrap, bootstrap_parts, paired_differences
from polymode.uncertainty.reduction import Block, Clusters, spans
from polymode.uncertainty.resampling import N_BOOT, replicate
from polymode.uncertainty.seeds import SeedVariance, over_seeds
from polymode.uncertainty.statistics import (
    Array,
    Divisor,
    Estimate,
    Gaps,
    Items,
    Limits,
    Statistic,
    SumStatistic,
    WeightedStatistic,
    join_repeats,
    mean_of_items,
    mean_of_questions,
    number_questions,
    question_sums,
    ratio,
    restrict,
)

__all__ = [
    "N_BOOT",
    "Array",
    "Block",
    "Clusters",
    "Divisor",
    "Estimate",
    "Gaps",
    "Items",
    "Limits",
    "SeedVariance",
    "Statistic",
    "SumStatistic",
    "WeightedStatistic",
    "bootstrap",
    "bootstrap_parts",
    "join_repeats",
    "mean_of_items",
    "mean_of_questions",
    "number_questions",
    "over_seeds",
    "paired_differences",
    "question_sums",
    "ratio",
    "replicate",
    "restrict",
    "spans",
]
