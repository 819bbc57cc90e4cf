"""Calibration: do stated confidences q agree with labels y (layer L2)?

Every binned number is a formula on sums per bin, so that the bootstrap can add up per-question sums through the same
formula. Bins lie along the last axis; an empty bin contributes 0; no observation at all gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from polymode.errors import RecordError
from polymode.metrics.table import Floats, Ints, check_count, floats, observations
from polymode.uncertainty import Gaps, SumStatistic, ratio

N_BINS = 10


class BinSums(NamedTuple):
    """Sums per bin, each of shape (..., B)."""

    count: Floats
    q: Floats
    """Of confidences, or of any stated quantity."""
    y: Floats
    """Of labels, or of what came true."""


class ReliabilityBins(NamedTuple):
    """Points of a reliability diagram, one for each bin, each of shape (B,)."""

    low: Floats
    high: Floats
    """Upper edge, included in the last bin only."""
    count: Floats
    confidence: Floats
    """Mean confidence; NaN in an empty bin."""
    frequency: Floats
    """Share that is right; NaN in an empty bin."""


def width_bins(q_N: Floats, n_bins: int = N_BINS, top: float | Floats = 1.0) -> Ints:
    """Equal-width bins of [0, top], left-closed, the last one closed: min(floor(n_bins q / top + 1e-9), n_bins - 1).

    The 1e-9 keeps stated decimals such as 0.3, which binary numbers miss by a hair, on the right side of their edge.
    """
    return np.minimum(np.floor(n_bins * np.asarray(q_N, float) / top + 1e-9).astype(np.int64), n_bins - 1)


def mass_bins(q_N: Floats, n_bins: int = N_BINS) -> Ints:
    """Bins of equal numbers of observations: b = floor(n_bins #{q_j < q_i} / n). Equal confidences share a bin."""
    return mass_bins_among(*np.unique(q_N, return_counts=True), q_N, n_bins)


def mass_bins_among(values_U: Floats, count_U: Ints, q_N: Floats, n_bins: int = N_BINS) -> Ints:
    """`mass_bins` of some of the observations; of all, the different confidences, rising, and how many have each."""
    below_U = np.concatenate([[0], np.cumsum(count_U)])
    n_below_N = below_U[np.searchsorted(values_U, np.asarray(q_N) - 1e-12)]
    return n_below_N * n_bins // max(int(below_U[-1]), 1)


def bin_sums(q_N: Floats, y_N: Floats, bin_N: Ints, n_bins: int = N_BINS) -> BinSums:
    """Sums per bin over all observations, each of shape (n_bins,)."""
    return BinSums(*(np.bincount(bin_N, x_N, n_bins).astype(float) for x_N in (None, q_N, y_N)))


def clustered_bin_sums(
    q_N: Floats, y_N: Floats, bin_N: Ints, question_N: Ints, n_questions: int, n_bins: int = N_BINS
) -> BinSums:
    """Sums per question and bin, each of shape (P, n_bins)."""
    sums = bin_sums(q_N, y_N, question_N * n_bins + bin_N, n_questions * n_bins)
    return BinSums(*(sum_PB.reshape(n_questions, n_bins) for sum_PB in sums))


def _sums(q_N: ArrayLike, y_N: ArrayLike, bins: Callable[[Floats, int], Ints], n_bins: int) -> BinSums:
    """Sums per bin of what a caller passes in, checked."""
    check_count("n_bins", n_bins)
    q_N, y_N = observations(q_N, y_N)
    return bin_sums(q_N, y_N, bins(q_N, n_bins), n_bins)


def reliability_from_sums(count_B: Floats, q_B: Floats, y_B: Floats, top: float = 1.0) -> ReliabilityBins:
    """`reliability_bins` from sums over bins of equal width on [0, top]."""
    edges = np.linspace(0.0, top, len(count_B) + 1)
    return ReliabilityBins(edges[:-1], edges[1:], count_B, ratio(q_B, count_B), ratio(y_B, count_B))


def reliability_bins(q_N: ArrayLike, y_N: ArrayLike, *, n_bins: int = N_BINS) -> ReliabilityBins:
    """The reliability diagram: mean confidence and share of right answers in bins of equal width on [0, 1].

    Arguments as for `ece`. Empty bins stay, with count 0 and NaN, so that the ECE can be computed from the result.

    >>> bins = reliability_bins([0.1, 0.2, 0.9], [0, 1, 1], n_bins=2)
    >>> bins.count.tolist(), bins.frequency.tolist()
    ([2.0, 1.0], [0.5, 1.0])

    Source: Murphy & Winkler 1977, doi:10.2307/2346866.
    """
    return reliability_from_sums(*_sums(q_N, y_N, width_bins, n_bins))


def ece_from_sums(count_B: Floats, q_B: Floats, y_B: Floats, *_: Floats) -> Floats:
    """sum_b |sum_b q - sum_b y| / n, shape (...)."""
    return ratio(np.abs(q_B - y_B).sum(-1), count_B.sum(-1))


def bin_gaps(count_B: Floats, q_B: Floats, y_B: Floats, *_: Floats) -> Floats:
    """(sum_b q - sum_b y) / n of each bin, shape (..., B): the ECE is the sum of their absolute values."""
    return ratio(q_B - y_B, count_B.sum(-1)[..., None])


GAPS = Gaps(bin_gaps, lambda gap_R_B: np.abs(gap_R_B).sum(-1), outcomes=1, squares=3)
DEBIASED_GAPS = GAPS._replace(squares=5)


def ece(q_N: ArrayLike, y_N: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Expected calibration error: sum_b (n_b / n) |mean_b q - mean_b y|, over bins of equal width on [0, 1].

    Args:
        q_N: confidences in [0, 1], shape (n,).
        y_N: labels, 1 for a right answer and 0 for a wrong one, or soft labels in [0, 1], shape (n,).
        n_bins: number of bins; left-closed, the last one closed (`width_bins`).

    Returns:
        A number in [0, 1], 0 is best; NaN without observations. Pairs in which one is NaN are left out.

    >>> ece([0.75, 0.75, 0.25], [1, 0, 0])  # (2/3) |0.75 - 0.5| + (1/3) |0.25 - 0|
    0.25

    Source: Naeini et al. 2015 (AAAI), https://doi.org/10.1609/aaai.v29i1.9602.
    """
    return float(ece_from_sums(*_sums(q_N, y_N, width_bins, n_bins)))


def pce_from_sums(count_B: Floats, q_B: Floats, y_B: Floats, *_: Floats) -> Floats:
    """sum_b max(sum_b q - sum_b y, 0) / n, shape (...)."""
    return ratio(np.maximum(q_B - y_B, 0.0).sum(-1), count_B.sum(-1))


GAPS_ABOVE = Gaps(bin_gaps, lambda gap_R_B: np.maximum(gap_R_B, 0.0).sum(-1), outcomes=1, squares=3)


def pce(q_N: ArrayLike, y_N: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Positive calibration error: the part of the `ece` that overconfident bins have, sum_b (n_b / n) max(d_b, 0).

    d_b = mean_b q - mean_b y. Arguments as for `ece`, of which the rest is underconfidence.

    >>> pce([0.75, 0.75, 0.25], [1, 1, 0])  # (1/3) (0.25 - 0); the ECE has (2/3) (1 - 0.75) besides
    0.08333333333333333

    Source: DCPO, https://arxiv.org/abs/2603.09117.
    """
    return float(pce_from_sums(*_sums(q_N, y_N, width_bins, n_bins)))


def adaptive_ece(q_N: ArrayLike, y_N: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """`ece` over bins with equal numbers of observations; equal confidences share a bin (`mass_bins`).

    >>> adaptive_ece([0.1, 0.2, 0.7, 0.8], [0, 1, 0, 1], n_bins=2)
    0.3

    Source: Nguyen & O'Connor 2015, https://arxiv.org/abs/1508.05154.
    """
    return float(ece_from_sums(*_sums(q_N, y_N, mass_bins, n_bins)))


def debiased_ece_from_sums(
    count_B: Floats, q_B: Floats, y_B: Floats, rr_B: Floats, rn_B: Floats, nn_B: Floats, clusters_B: Floats
) -> Floats:
    """`debiased_ece` from sums over questions, each (..., B): n, q, y, r^2, r n, n^2 and 1[n > 0], with r = q - y."""
    # The gap of a bin with one question is all noise, for all that the bin can tell.
    count_B, q_B, y_B = (np.where(np.rint(clusters_B) > 1, x_B, 0.0) for x_B in (count_B, q_B, y_B))
    gap_B = ratio(q_B - y_B, count_B)
    spread_B = ratio(rr_B - 2 * gap_B * rn_B + gap_B**2 * nn_B, count_B**2)
    variance_B = np.nan_to_num(spread_B * ratio(clusters_B, clusters_B - 1))
    corrected_B = np.sqrt(np.maximum(np.nan_to_num(gap_B) ** 2 - variance_B, 0.0))
    return ratio((count_B * corrected_B).sum(-1), count_B.sum(-1))


def debiased_ece(q_N: ArrayLike, y_N: ArrayLike, question_N: ArrayLike | None = None, *, n_bins: int = N_BINS) -> float:
    """ECE with the squared noise of each bin taken off its squared gap, in [0, 1]; NaN without observations.

        sum_b (n_b / n) sqrt(max(d_b^2 - s_b^2, 0)),    d_b = mean_b q - mean_b y
        s_b^2 = C / (C - 1) sum_Q (r_Q - d_b n_Q)^2 / n_b^2

    The plain ECE is above 0 even for perfect confidences, because |d_b| cannot average out. d_b^2 - s_b^2 is unbiased
    for the squared gap; its positive part removes about half of the bias where the gap is 0, more where there is one.
    s_b^2 takes the C questions of the bin as independent (r_Q, n_Q: a question's sum of q - y and its count in the
    bin). Bins with one question are left out; NaN where there is no other.

    Arguments as for `ece`, and:
        question_N: question of each observation, as numbers, shape (n,); each its own question when None.

    >>> round(debiased_ece([0.55] * 4, [1, 0, 0, 0]), 4)  # gap 0.3, variance 0.0625
    0.1658

    Source: Ferro & Fricker 2012, doi:10.1002/qj.1924, and Kumar, Liang & Ma 2019, https://arxiv.org/abs/1909.10155, for
    squared gaps; clustered variances and the root per bin are ours.
    """
    check_count("n_bins", n_bins)
    observed_q_N, observed_y_N = observations(q_N, y_N)
    label_N = np.arange(np.size(q_N)) if question_N is None else np.asarray(question_N)
    if label_N.shape != np.shape(q_N):
        raise RecordError(f"question: shape {label_N.shape} for q of shape {np.shape(q_N)}; give one for each answer")
    label_N = label_N[~np.isnan(floats("q", q_N) + floats("y", y_N))]
    name_P, index_N = np.unique(label_N, return_inverse=True)
    bin_N = width_bins(observed_q_N, n_bins)
    sums = clustered_bin_sums(observed_q_N, observed_y_N, bin_N, index_N, len(name_P), n_bins)
    return float(debiased_ece_from_sums(*(sum_P_B.sum(0) for sum_P_B in (*sums, *debiasing_sums(*sums)))))


def debiasing_sums(count_P_B: Floats, q_P_B: Floats, y_P_B: Floats) -> tuple[Floats, ...]:
    """Per-question arrays that `debiased_ece_from_sums` needs beside the sums per question and bin."""
    r_P_B = q_P_B - y_P_B
    return (r_P_B * r_P_B, r_P_B * count_P_B, count_P_B**2, (count_P_B > 0).astype(float))


def squared_counts(count_P_B: Floats, *_: Floats) -> tuple[Floats]:
    """Of each question and bin: the noise of answers that are right together needs them (`Gaps.squares`)."""
    return (count_P_B.astype(float) ** 2,)


def expected_hits_error(sum_q_N: ArrayLike, hits_N: ArrayLike, k: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Calibration of whole sets: sum_b (n_b / n) |mean_b s - mean_b H|, in hits per set; NaN without sets.

    Args:
        sum_q_N: s, the sum of a set's confidences, shape (n,).
        hits_N: H, the right answers of the set, each counted once, shape (n,).
        k: answers asked for, one number or shape (n,); bins have equal width on [0, k].
        n_bins: number of bins.

    Sets in which one is NaN are left out. Honest confidences give 0 up to noise, however the answers depend on each
    other. At k = 1 it equals `ece`.

    >>> expected_hits_error([0.5, 2.5], [1, 2], 3)
    0.5
    """
    check_count("n_bins", n_bins)
    sum_q_N, hits_N, k_N = floats("sum_q", sum_q_N, 0), floats("hits", hits_N, 0), floats("k", k, 1)
    if sum_q_N.shape != hits_N.shape or sum_q_N.ndim != 1 or k_N.shape not in ((), sum_q_N.shape):
        shapes = f"{sum_q_N.shape}, {hits_N.shape} and {k_N.shape}"
        raise RecordError(f"sum_q, hits and k: shapes {shapes}; give one of each for every set, k perhaps once for all")
    k_N = np.broadcast_to(k_N, sum_q_N.shape)
    if (is_above_N := np.maximum(sum_q_N, hits_N) > k_N + 1e-9).any():
        most, of_k = np.maximum(sum_q_N, hits_N)[is_above_N][0], k_N[is_above_N][0]
        raise RecordError(f"sum_q and hits: {most:g} is more than k = {of_k:g} answers can have")
    is_defined_N = ~np.isnan(sum_q_N + hits_N + k_N)
    sum_q_N, hits_N, k_N = sum_q_N[is_defined_N], hits_N[is_defined_N], k_N[is_defined_N]
    return float(ece_from_sums(*bin_sums(sum_q_N, hits_N, width_bins(sum_q_N, n_bins, k_N), n_bins)))


def ece_statistic(
    q_N: Floats,
    y_N: Floats,
    bin_N: Ints,
    question_N: Ints,
    n_questions: int,
    n_bins: int = N_BINS,
    outcomes: int = 1,
) -> SumStatistic:
    """ECE over given bins, with its per-question sums; the bins stay those of the whole sample in every resample.

    ``outcomes``: what one y adds up, K answers of a set.
    """
    sums = clustered_bin_sums(q_N, y_N, bin_N, question_N, n_questions, n_bins)
    gaps = GAPS._replace(outcomes=outcomes)
    limits = (0.0, float(outcomes))
    return SumStatistic(sums, ece_from_sums, len(q_N), gaps=gaps, limits=limits, derive=squared_counts)
