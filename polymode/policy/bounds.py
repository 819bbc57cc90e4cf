"""Exact tests and limits for rates, and the two ways from tests to a threshold (layer L2)."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import beta, binom

from polymode.policy.records import Floats, Ints


def p_values(failed: Ints, n: Ints, alpha: float) -> Floats:
    """Exact p-value of "the rate of failures is above alpha": P(Binomial(n, alpha) <= failed); 1 where n is 0.

    Args:
        failed: failures, shape (T,).
        n: independent records they were counted in, shape (T,).
        alpha: rate, in (0, 1).
    """
    return binom.cdf(failed, n, alpha)


def upper_limit(failed: int, n: int, delta: float) -> float:
    """Clopper-Pearson upper limit of a rate at confidence 1 - delta; at most alpha iff the p-value is at most delta.

    1 when all failed or nothing was counted. Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    return 1.0 if failed >= n else float(beta.ppf(1 - delta, failed + 1, n - failed))


def fixed_sequence(p: Floats, delta: float) -> int:
    """How many hypotheses are rejected: those before the first whose p-value is above delta.

    The order must not depend on the records that made the p-values. Then the probability that a true hypothesis is
    rejected is at most delta: the first true one of the order would have to be.
    Source: Angelopoulos et al. 2021, Learn then Test, https://arxiv.org/abs/2110.01052, section 2.3.
    """
    accepted = np.flatnonzero(p > delta)
    return int(accepted[0]) if len(accepted) else len(p)


def records_to_test(alpha: float, delta: float) -> int:
    """Fewest records among which no failure at all proves a rate of at most alpha: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def conformal_level(failed: Ints, n: int) -> Floats:
    """(failed + 1) / (n + 1): at most alpha bounds the failure rate of one further record by alpha, on average.

    For failures that only get fewer along the thresholds, at the first threshold where it is at most alpha.
    Source: Angelopoulos et al. 2022, Conformal Risk Control, https://arxiv.org/abs/2208.02814, theorem 1 with B = 1.
    """
    return (failed + 1) / (n + 1)


def records_to_conform(alpha: float) -> int:
    """Fewest records with which conformal risk control can promise alpha: 1 / (n + 1) <= alpha."""
    return math.ceil(1 / alpha - 1 - 1e-9)
