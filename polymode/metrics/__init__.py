"""Metrics of answers and confidences: plain functions of arrays, each with its formula and an example (layer L2).

q are confidences in [0, 1], y labels (1 right, 0 wrong), one for each answer; lists and NumPy arrays alike. A number
that is undefined is NaN, never 0. Formulas of every metric that `polymode evaluate` reports: docs/metrics.md.

============================= =======================================================================
calibration                   `ece`, `pce`, `adaptive_ece`, `debiased_ece`, `expected_hits_error`
reliability curves            `reliability_bins`, `isotonic_reliability`
proper scores                 `brier`, `brier_decomposition`, `log_loss`
ranking and abstention        `auroc`, `auroc_within`, `aurc`, `risk_coverage`
coverage and diversity        `coverage_at`, `pass_at_k`, `best_coverage`, `uniqueness`
distributions                 `kl_divergence`, `total_variation`
============================= =======================================================================

>>> from polymode.metrics import brier, ece
>>> ece([0.75, 0.75, 0.25], [1, 0, 0]), brier([0.5, 1.0], [1, 1])
(0.25, 0.125)
"""

from polymode.metrics.alignment import best_coverage, kl_divergence, total_variation
from polymode.metrics.calibration import adaptive_ece, debiased_ece, ece, expected_hits_error, pce, reliability_bins
from polymode.metrics.coverage import coverage_at, pass_at_k
from polymode.metrics.diversity import uniqueness
from polymode.metrics.isotonic import isotonic_reliability
from polymode.metrics.scores import brier, brier_decomposition, log_loss
from polymode.metrics.selective import aurc, auroc, risk_coverage
from polymode.metrics.skill import auroc_within

__all__ = [
    "ece",
    "pce",
    "adaptive_ece",
    "debiased_ece",
    "expected_hits_error",
    "reliability_bins",
    "isotonic_reliability",
    "brier",
    "brier_decomposition",
    "log_loss",
    "auroc",
    "auroc_within",
    "aurc",
    "risk_coverage",
    "coverage_at",
    "pass_at_k",
    "best_coverage",
    "uniqueness",
    "kl_divergence",
    "total_variation",
]
