"""Calibration: do stated confidences q agree with labels y (layer L2)?

Every function of bins comes in two steps, sums per bin and a formula on the sums, so that the bootstrap can add up
per-question sums. Bins along the last axis; an empty bin contributes 0; no observation at all gives NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polymode.metrics.table import Floats, Ints
from polymode.uncertainty import SumStatistic, ratio

N_BINS = 10
"""Bins of every binned number and of the reliability diagram."""
NLL_EPS = 1e-3
"""Confidences are clipped to [eps, 1 - eps] in the log score: a certain answer that is wrong costs 6.9 nats."""


class BinSums(NamedTuple):
    """Sums per bin, each of shape (..., B)."""

    count: Floats
    """Observations."""
    q: Floats
    """Sum of confidences (or of any stated quantity)."""
    y: Floats
    """Sum of labels (or of what came true)."""


class BrierParts(NamedTuple):
    """``brier = reliability - resolution + uncertainty + within``, each of shape (...)."""

    brier: Floats
    reliability: Floats
    resolution: Floats
    uncertainty: Floats
    within: Floats


def width_bins(q: Floats, n_bins: int = N_BINS, top: float | Floats = 1.0) -> Ints:
    """Equal-width bins of [0, top]: b = min(floor(n_bins q / top + 1e-9), n_bins - 1).

    Left-closed, the last bin includes ``top``. The 1e-9 keeps stated decimals such as 0.3 or 0.7, which binary
    numbers miss by a hair, on the right side of their edge.
    """
    return np.minimum(np.floor(n_bins * np.asarray(q, float) / top + 1e-9).astype(np.int64), n_bins - 1)


def mass_bins(q: Floats, n_bins: int = N_BINS) -> Ints:
    """Bins of equal numbers of observations: b = floor(n_bins #{q_j < q_i} / n). Equal confidences share a bin."""
    q = np.asarray(q, float)
    if q.size == 0:
        return np.zeros(0, dtype=np.int64)
    below = np.searchsorted(np.sort(q), q - 1e-12, side="left")
    return below * n_bins // q.size


def bin_sums(q: Floats, y: Floats, bins: Ints, n_bins: int = N_BINS) -> BinSums:
    """Sums per bin over all observations, each of shape (n_bins,)."""
    together = clustered_bin_sums(q, y, bins, np.zeros(len(q), dtype=np.int64), 1, n_bins)
    return BinSums(*(a[0] for a in together))


def clustered_bin_sums(
    q: Floats, y: Floats, bins: Ints, question: Ints, n_questions: int, n_bins: int = N_BINS
) -> BinSums:
    """Sums per question and bin, each of shape (Q, n_bins)."""
    cell, size = question * n_bins + bins, n_questions * n_bins
    count, sum_q, sum_y = (np.bincount(cell, weights=w, minlength=size).astype(float) for w in (None, q, y))
    return BinSums(*(a.reshape(n_questions, n_bins) for a in (count, sum_q, sum_y)))


def ece_from_sums(count: Floats, q: Floats, y: Floats) -> Floats:
    """sum_b |sum_b q - sum_b y| / n, shape (...)."""
    return ratio(np.abs(q - y).sum(-1), count.sum(-1))


def expected_calibration_error(q: Floats, y: Floats, *, n_bins: int = N_BINS) -> float:
    """ECE over equal-width bins: sum_b (n_b / n) |mean_b q - mean_b y|, in [0, 1]; NaN without observations.

    Args:
        q: confidences in [0, 1], shape (n,).
        y: labels 0 or 1, shape (n,).
        n_bins: number of bins.

    Source: Naeini et al. 2015 (AAAI); bins left-closed as in `width_bins`.
    """
    return float(ece_from_sums(*bin_sums(q, y, width_bins(q, n_bins), n_bins)))


def equal_mass_ece(q: Floats, y: Floats, *, n_bins: int = N_BINS) -> float:
    """ECE over bins with equal numbers of observations (`mass_bins`), in [0, 1]; NaN without observations.

    Source: Nguyen & O'Connor 2015, https://arxiv.org/abs/1508.05154.
    """
    return float(ece_from_sums(*bin_sums(q, y, mass_bins(q, n_bins), n_bins)))


def debiased_ece_from_sums(
    count: Floats, q: Floats, y: Floats, rr: Floats, rn: Floats, nn: Floats, clusters: Floats
) -> Floats:
    """`debiased_ece` from sums over questions, each (..., B): n, q, y, r^2, r n, n^2 and 1[n > 0], with r = q - y."""
    gap = ratio(q - y, count)
    spread = ratio(rr - 2 * gap * rn + gap**2 * nn, count**2)
    variance = np.nan_to_num(spread * ratio(clusters, clusters - 1))
    corrected = np.sqrt(np.maximum(np.nan_to_num(gap) ** 2 - variance, 0.0))
    return ratio((count * corrected).sum(-1), count.sum(-1))


def debiased_ece(q: Floats, y: Floats, question: Ints, *, n_bins: int = N_BINS) -> float:
    """ECE with the squared noise of each bin taken off its squared gap, in [0, 1]; NaN without observations.

        sum_b (n_b / n) sqrt(max(d_b^2 - s_b^2, 0)),    d_b = mean_b q - mean_b y
        s_b^2 = C / (C - 1) sum_Q (r_Q - d_b n_Q)^2 / n_b^2

    The plain ECE is above 0 even for perfect confidences, because |d_b| cannot average out. d_b^2 - s_b^2 is unbiased
    for the squared gap; the root of its positive part removes about half of the bias where the gap is 0, more where
    there is one. s_b^2 is the variance of d_b with the C questions of the bin as independent units (r_Q, n_Q: a
    question's sum of q - y and its count in the bin); a bin with one question is left uncorrected.

    Args:
        q: confidences in [0, 1], shape (n,).
        y: labels 0 or 1, shape (n,).
        question: question index of each observation, shape (n,).
        n_bins: number of equal-width bins.

    Source: the correction of squared gaps by Ferro & Fricker 2012, doi:10.1002/qj.1924, and Kumar, Liang & Ma 2019,
    https://arxiv.org/abs/1909.10155; clustered variances and the root per bin are ours.
    """
    if len(q) == 0:
        return float("nan")
    n_questions = int(question.max()) + 1
    sums = clustered_bin_sums(q, y, width_bins(q, n_bins), question, n_questions, n_bins)
    return float(debiased_ece_from_sums(*(a.sum(0) for a in debiasing_sums(sums))))


def debiasing_sums(sums: BinSums) -> tuple[Floats, ...]:
    """Per-question arrays whose sums `debiased_ece_from_sums` needs, from per-question bin sums."""
    r = sums.q - sums.y
    return (*sums, r * r, r * sums.count, sums.count**2, (sums.count > 0).astype(float))


def brier_score(q: Floats, y: Floats) -> float:
    """Mean of (q - y)^2, in [0, 1], lower is better; NaN without observations. Source: Brier 1950."""
    return float(ratio(np.sum((q - y) ** 2), len(q)))


def brier_parts_from_sums(count: Floats, q: Floats, y: Floats, squares: Floats) -> BrierParts:
    """`brier_decomposition` from sums per bin (..., B) and the sum of (q - y)^2 (...)."""
    n = count.sum(-1)
    rate, gap = ratio(y, count), ratio(q - y, count)
    base = ratio(y.sum(-1), n)
    reliability = ratio(np.nansum(count * gap**2, axis=-1), n)
    resolution = ratio(np.nansum(count * (rate - base[..., None]) ** 2, axis=-1), n)
    uncertainty = base * (1 - base)
    brier = ratio(squares, n)
    return BrierParts(brier, reliability, resolution, uncertainty, brier - (reliability - resolution + uncertainty))


def brier_decomposition(q: Floats, y: Floats, *, n_bins: int = N_BINS) -> BrierParts:
    """Brier score split over equal-width bins: brier = reliability - resolution + uncertainty + within.

        reliability = sum_b (n_b / n) (mean_b q - mean_b y)^2     lower is better
        resolution  = sum_b (n_b / n) (mean_b y - mean y)^2       higher is better
        uncertainty = mean y (1 - mean y)                         given by the answers
        within      = mean over observations of [(q - mean_b q)^2 - 2 (q - mean_b q)(y - mean_b y)]

    ``within`` is what bins hide; it is 0 when all confidences of a bin are equal.

    Source: Murphy 1973; within-bin terms: Stephenson, Coelho & Jolliffe 2008, doi:10.1175/2007WAF2006116.1.
    """
    sums = bin_sums(q, y, width_bins(q, n_bins), n_bins)
    return brier_parts_from_sums(*sums, np.sum((q - y) ** 2))


def log_loss_terms(q: Floats, y: Floats, eps: float = NLL_EPS) -> Floats:
    """-y log q' - (1 - y) log(1 - q') of each observation in nats, q' = q clipped to [eps, 1 - eps]."""
    clipped = np.clip(q, eps, 1 - eps)
    return -np.log(np.where(np.asarray(y) == 1, clipped, 1 - clipped))


def negative_log_likelihood(q: Floats, y: Floats, *, eps: float = NLL_EPS) -> float:
    """Mean of `log_loss_terms` in nats, lower is better; NaN without observations."""
    return float(ratio(log_loss_terms(q, y, eps).sum(), len(q)))


def expected_hits_error(sum_q: Floats, hits: Floats, k: Ints, *, n_bins: int = N_BINS) -> float:
    """Set-level calibration: sum_b (n_b / n) |mean_b s - mean_b H|, unit hits per set; NaN without sets.

    Args:
        sum_q: s, the sum of a set's confidences, shape (N,).
        hits: H, the references it found, shape (N,).
        k: answers asked for, shape (N,); bins have equal width on [0, k].
        n_bins: number of bins.

    Honest marginal confidences give 0 up to noise, however the answers depend on each other. At k = 1 it equals the
    pooled ECE.
    """
    return float(ece_from_sums(*bin_sums(sum_q, hits, width_bins(sum_q, n_bins, k), n_bins)))


def ece_statistic(
    q: Floats, y: Floats, bins: Ints, question: Ints, n_questions: int, n_bins: int = N_BINS
) -> SumStatistic:
    """ECE over given bins, with its per-question sums; the bins stay those of the whole sample in every resample."""
    return SumStatistic(
        clustered_bin_sums(q, y, bins, question, n_questions, n_bins), ece_from_sums, len(q), is_absolute=True
    )
