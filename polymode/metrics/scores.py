"""Proper scores of confidences q against labels y: Brier score with its parts, log loss (layer L2).

A proper score is best in expectation for the true probability, so no constant and no bolder guess can game it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from polymode.errors import ConfigError
from polymode.metrics.calibration import N_BINS, bin_sums, width_bins
from polymode.metrics.table import Floats, check_count, observations
from polymode.uncertainty import Gaps, ratio

NLL_EPS = 1e-3
"""Confidences are clipped to [eps, 1 - eps] in the log loss: a certain answer that is wrong costs 6.9 nats."""


class BrierParts(NamedTuple):
    """``brier = reliability - resolution + uncertainty + within``, each of shape (...)."""

    brier: Floats
    reliability: Floats
    resolution: Floats
    uncertainty: Floats
    within: Floats


def brier_terms(q_N: Floats, y_N: Floats) -> Floats:
    """(q - y)^2 of each observation; of a soft label w its expectation for y ~ Bernoulli(w), (q - w)^2 + w (1 - w)."""
    return (q_N - y_N) ** 2 + y_N * (1 - y_N)


def brier(q_N: ArrayLike, y_N: ArrayLike) -> float:
    """Brier score: the mean of (q - y)^2.

    Args:
        q_N: confidences in [0, 1], shape (n,).
        y_N: labels 0 or 1, or soft labels in [0, 1] (`brier_terms`), shape (n,).

    Returns:
        A number in [0, 1], 0 is best; NaN without observations. Pairs in which one is NaN are left out.

    >>> brier([0.5, 1.0], [1, 1])
    0.125

    Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return float(brier_decomposition(q_N, y_N).brier)


def brier_parts_from_sums(count_B: Floats, q_B: Floats, y_B: Floats, squares: Floats) -> BrierParts:
    """`brier_decomposition` from sums per bin (..., B) and the sum of (q - y)^2 (...)."""
    n = count_B.sum(-1)
    rate_B, gap_B = ratio(y_B, count_B), ratio(q_B - y_B, count_B)
    base = ratio(y_B.sum(-1), n)
    reliability = ratio(np.nansum(count_B * gap_B**2, axis=-1), n)
    resolution = ratio(np.nansum(count_B * (rate_B - base[..., None]) ** 2, axis=-1), n)
    uncertainty = base * (1 - base)
    total = ratio(squares, n)
    return BrierParts(total, reliability, resolution, uncertainty, total - (reliability - resolution + uncertainty))


def _reliability_gaps(count_B: Floats, q_B: Floats, y_B: Floats, *_: Floats) -> Floats:
    return np.sqrt(ratio(count_B, count_B.sum(-1)[..., None])) * np.nan_to_num(ratio(q_B - y_B, count_B))


def _resolution_gaps(count_B: Floats, _q_B: Floats, y_B: Floats, *_: Floats) -> Floats:
    share_B, base = ratio(count_B, count_B.sum(-1)[..., None]), ratio(y_B.sum(-1), count_B.sum(-1))
    return np.sqrt(share_B) * np.where(count_B > 0, np.nan_to_num(ratio(y_B, count_B)) - base[..., None], 0.0)


def _root_of_squares(gap_R_B: Floats) -> Floats:
    return np.sqrt((gap_R_B**2).sum(-1))


GAPS = {
    "reliability": Gaps(_reliability_gaps, _root_of_squares, power=2, outcomes=1, squares=4),
    "resolution": Gaps(_resolution_gaps, _root_of_squares, power=2),
}
"""Gaps whose squares add up to a part of the Brier score."""


def brier_decomposition(q_N: ArrayLike, y_N: ArrayLike, *, n_bins: int = N_BINS) -> BrierParts:
    """Brier score split over equal-width bins: brier = reliability - resolution + uncertainty + within.

        reliability = sum_b (n_b / n) (mean_b q - mean_b y)^2     lower is better
        resolution  = sum_b (n_b / n) (mean_b y - mean y)^2       higher is better
        uncertainty = mean y (1 - mean y)                         given by the answers
        within      = mean over observations of [(q - mean_b q)^2 - 2 (q - mean_b q)(y - mean_b y)]

    ``within`` is what bins hide; it is 0 when all confidences of a bin are equal. Arguments as for `brier`.

    >>> parts = brier_decomposition([0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1])
    >>> float(parts.reliability), float(parts.resolution), float(parts.uncertainty)
    (0.0625, 0.25, 0.25)

    Source: Murphy 1973; within-bin terms: Stephenson, Coelho & Jolliffe 2008, doi:10.1175/2007WAF2006116.1.
    """
    check_count("n_bins", n_bins)
    q_N, y_N = observations(q_N, y_N)
    sums = bin_sums(q_N, y_N, width_bins(q_N, n_bins), n_bins)
    return brier_parts_from_sums(*sums, np.sum(brier_terms(q_N, y_N)))


def log_loss_terms(q_N: Floats, y_N: Floats, eps: float = NLL_EPS) -> Floats:
    """-y log q' - (1 - y) log(1 - q') of each observation in nats, q' = q clipped to [eps, 1 - eps]."""
    clipped_N = np.clip(q_N, eps, 1 - eps)
    with np.errstate(divide="ignore", invalid="ignore"):  # at eps = 0 a label that does not occur costs 0, not NaN
        right_N = np.where(y_N > 0, -y_N * np.log(clipped_N), 0.0)
        return right_N + np.where(y_N < 1, -(1 - y_N) * np.log(1 - clipped_N), 0.0)


def log_loss(q_N: ArrayLike, y_N: ArrayLike, *, eps: float = NLL_EPS) -> float:
    """Log score, or negative log-likelihood: the mean of -y log q' - (1 - y) log(1 - q'), in nats.

    Arguments as for `brier`, and:
        eps: q' is q clipped to [eps, 1 - eps], so that one certain error costs -log(eps) and not infinity.

    Returns a number >= 0, lower is better; NaN without observations.

    >>> round(log_loss([0.5, 0.5], [1, 0]), 6)  # log 2
    0.693147
    """
    if not 0 <= eps < 0.5:
        raise ConfigError(f"eps = {eps!r} is not allowed: use a number from 0 to below 0.5")
    terms_N = log_loss_terms(*observations(q_N, y_N), eps)
    return float(ratio(terms_N.sum(), len(terms_N)))
