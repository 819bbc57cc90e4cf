"""Which 95% interval a metric gets, from its value and its replicates.

==================================== ==================================================================================
a share of outcomes                  Clopper-Pearson limits for as many independent outcomes as vary as much
                                     (Korn & Graubard 1998, Survey Methodology 24:193); exact for one per question
a sum of absolute or squared gaps    what exceeds the noise, of resamples and of labels drawn by what was stated, up to
                                     the percentile shifted by its mean excess
any other metric                     percentiles, expanded for few questions (Hesterberg 2015, arXiv 1411.5279); with
                                     fewer than `FEW` at least the interval of Student's t
the same value for every question    an unseen share of other questions, ``1 - (alpha/2)^(1/n)``, at either limit
a mean that few questions spread     at least that too: where errors are rare and costly, those of the next sample are
                                     not among these, and no resample has them (`unseen_beside`)
a difference of two sums of gaps     both intervals, joined as those of independent estimates where both exceed their
                                     noise (Zou & Donner 2008, doi:10.1002/sim.3095), else their ends
any other difference of two metrics  as any other metric
==================================== ==================================================================================

Percentiles over resampled clusters: Field & Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x. n: questions that the
metric has to do with (`n_support`); alpha = 0.05.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from polymode.uncertainty.resampling import Resampled
from polymode.uncertainty.statistics import Array, Limits, Statistic, SumStatistic

LEVEL = 0.95
"""Share of samples whose interval holds the truth."""
ALPHA = 1 - LEVEL
FEW = 10
"""Questions with fewer of which an interval is no narrower than by Student's t."""
Interval = tuple[float, float]
_UNDEFINED = (math.nan, math.nan)


def interval_of(statistic: Statistic, resampled: Resampled) -> Interval:
    """The interval of a statistic by the rules above; NaN where it cannot be known.

    That is where the value or more than half of the replicates are undefined, or n is 1; an end is NaN, and with it the
    interval, where all questions have the same value and the metric has no limit on that side.
    """
    n = statistic.n_support
    value, value_R = resampled.value, resampled.value_R
    finite_R = value_R[np.isfinite(value_R)]
    if math.isnan(value) or n < 2 or finite_R.size == 0 or finite_R.size * 2 < value_R.size:
        return _UNDEFINED
    if isinstance(statistic, SumStatistic):
        if statistic.is_share:
            count_P, n_P = (a.astype(float, copy=False) for a in statistic.sums)
            return share_interval(count_P, n_P, limits=statistic.limits)
        if statistic.gaps is not None and (np.ptp(resampled.size_R) > 1e-12 or resampled.stated_noise_R.size):
            return _gaps_interval(resampled, n, statistic.gaps.power, statistic.limits)
    if np.ptp(finite_R) <= 1e-12 * max(1.0, abs(value)):
        if isinstance(statistic, SumStatistic) and statistic.is_variance and value <= 1e-12:
            share = min(unseen_share(n), 0.5)
            return value, share * (1 - share)
        return unseen_interval(value, n, statistic.limits)
    low, high = unseen_beside(
        percentiles(finite_R, n, statistic.limits), resampled.influence_C, value, n, statistic.limits
    )
    return min(low, value), max(high, value)


def percentiles(value_R: Array, n: int, limits: Limits = (-math.inf, math.inf)) -> Interval:
    """Percentiles of replicates, as far out as makes up for n: those of a normal variable at t(n - 1) sqrt(n / (n-1)).

    Plain percentiles are too narrow by the factor sqrt((n-1) / n), and as a normal interval is beside a t interval. No
    replicate reaches beyond the questions that were drawn, two of which have the truth between them in half of all
    samples, so with fewer than `FEW` the interval is at least that of Student's t.
    """
    tail = _tail(n)
    low, high = np.quantile(value_R, [tail, 1 - tail])
    if n < FEW:
        middle, reach = np.mean(value_R), t_quantile(n - 1) * math.sqrt(n / (n - 1)) * np.std(value_R)
        low, high = min(low, max(middle - reach, limits[0])), max(high, min(middle + reach, limits[1]))
    return float(low), float(high)


def t_quantile(df: float) -> float:
    """Quantile 1 - alpha/2 of Student's t; of a normal variable for infinite degrees of freedom."""
    from scipy.special import stdtrit  # only here and below: the plain functions of polymode.metrics need no SciPy

    return -float(stdtrit(df, ALPHA / 2))


def _tail(n: int) -> float:
    """Share of replicates that an interval leaves out on each side, for n questions."""
    from scipy.special import ndtr

    return float(ndtr(-t_quantile(n - 1) * math.sqrt(n / (n - 1))))


def unseen_interval(value: float, n: int, limits: Limits) -> Interval:
    """Where n questions all have one value: those that have another, none of which was drawn, are at a limit.

    With probability 1 - alpha/2 their share is below 1 - (alpha/2)^(1/n). At a limit of a share these are the exact
    binomial limits: 20 right of 20 is [0.832, 1].
    """
    share = unseen_share(n)
    low, high = value - share * (value - limits[0]), value + share * (limits[1] - value)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else _UNDEFINED


def unseen_share(n: int) -> float:
    """The largest share of questions of which n drawn ones hold none, with a probability of at least alpha / 2."""
    return 1 - (ALPHA / 2) ** (1 / n)


def unseen_beside(interval: Interval, influence_C: Array, value: float, n: int, limits: Limits) -> Interval:
    """The interval, and at least `unseen_interval` where fewer than `FEW` questions make nearly all of the variance.

    With r_C by how much each question moves a mean, (sum r^2)^2 / sum r^4 of them make it: all n where each moves it
    equally far, one where it alone differs. Resamples hold what these few do and nothing that their like would do.
    """
    squares_C = influence_C**2
    fourth = float(squares_C @ squares_C)
    if not fourth or squares_C.sum() ** 2 / fourth >= FEW:
        return interval
    low, high = unseen_interval(value, n, limits)
    return (interval[0], interval[1]) if math.isnan(low) else (min(interval[0], low), max(interval[1], high))


def share_interval(count_P: Array, n_P: Array, *, limits: Limits = (0.0, 1.0)) -> Interval:
    """Limits of sum(count) / sum(n), whose outcomes within a question depend on each other.

    The share p, on the scale of its limits, has the variance v = C / (C-1) sum_P (count - p n)^2 / (sum n)^2 over C
    questions, so it is worth m = p (1 - p) / v independent outcomes, but never more than there are: with few questions
    v is small by chance, where those that differ most are not among them. At a limit there is no v, and m is
    (sum n)^2 / sum n^2 (Kish 1965), C for questions of one size. The interval is `exact_interval` for p m of m. v is an
    estimate: m is reduced as t is wider than a normal interval. Where each question is one outcome, m = C, and the
    limits are exact.
    """
    low, high = limits
    n_questions, total = int(np.count_nonzero(n_P)), n_P.sum()
    if not high > low:
        return low, high
    count_P = (count_P - low * n_P) / (high - low)
    p = float(count_P.sum() / total)
    is_outcome_P = (np.abs(count_P) < 1e-9) | (np.abs(count_P - 1) < 1e-9)
    m = float(total**2 / (n_P @ n_P))
    if 1e-12 < p < 1 - 1e-12 and not (is_outcome_P.all() and np.isin(n_P, (0, 1)).all()):
        residual_P = count_P - p * n_P
        variance = n_questions / (n_questions - 1) * float(residual_P @ residual_P) / total**2
        if variance <= 1e-15:
            return unseen_interval(low + p * (high - low), n_questions, limits)
        # An outcome is the least that a question has right or wrong: one of 3 names is a third of a question's share.
        parts_P = np.concatenate([count_P, n_P - count_P])
        n_outcomes = total / parts_P[parts_P > 1e-9].min()
        m = p * (1 - p) / variance * (t_quantile(math.inf) / t_quantile(n_questions - 1)) ** 2
        m = min(m, float(n_outcomes))
    ends = exact_interval(min(max(p, 0.0), 1.0) * m, m)
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def exact_interval(hits: float, m: float) -> Interval:
    """Limits of a share of which ``hits`` of m independent outcomes, whole numbers or not, are counted.

    Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    from scipy.special import betaincinv

    return (
        0.0 if hits <= 1e-9 else float(betaincinv(hits, m - hits + 1, ALPHA / 2)),
        1.0 if hits >= m - 1e-9 else float(betaincinv(hits + 1, m - hits, 1 - ALPHA / 2)),
    )


def _gaps_interval(resampled: Resampled, n: int, power: int, limits: Limits) -> Interval:
    """What a sum of gaps can be: noise alone makes it positive, so its plain percentiles lie too high.

    size(gap + noise) <= size(gap) + size(noise), so what exceeds the 97.5% of the noise is no noise; this holds the 0
    of a calibrated model. Resamples of a bin whose answers are all right have no noise, so that of labels drawn by what
    was stated counts where it is larger. Above, a replicate has noise on noise: percentiles are moved down by that
    excess.
    """
    tail = _tail(n)
    noises = [sizes_R for sizes_R in (resampled.noise_R, resampled.stated_noise_R) if sizes_R.size]
    noise = max(float(np.quantile(sizes_R, 1 - tail)) for sizes_R in noises)
    low = max(resampled.size - noise, 0.0) ** power
    size_R = resampled.size_R**power
    high = float(np.quantile(size_R, 1 - tail)) - float(size_R.mean() - resampled.size**power)
    if np.ptp(size_R) <= 1e-12:  # also where 0 or 1 was stated throughout, which has no noise either
        unseen_low, high = unseen_interval(resampled.value, n, limits)
        low = min(low, unseen_low)
    if math.isnan(high):
        return _UNDEFINED
    return min(low, resampled.value), min(max(high, resampled.value), limits[1])


def difference_interval(pair: tuple[Statistic, Statistic], resampled: tuple[Resampled, Resampled]) -> Interval:
    """The interval of ``first - second`` of one metric, from replicates that both share.

    Sums of gaps get the distances to the ends of both intervals, since a bin without a wrong answer in one arm has no
    replicate that shows any. They are joined as those of independent estimates where both gaps exceed their noise.
    Otherwise they are added: noise, which only makes gaps larger, does not cancel. For other metrics, what both arms
    share cancels in the replicates.
    """
    (a, b), (first, second) = pair, resampled
    shared = min(len(first.value_R), len(second.value_R))
    value, value_R = first.value - second.value, first.value_R[:shared] - second.value_R[:shared]
    n, limits = min(a.n_support, b.n_support), (a.limits[0] - b.limits[1], a.limits[1] - b.limits[0])
    finite_R = value_R[np.isfinite(value_R)]
    if math.isnan(value) or n < 2 or finite_R.size == 0 or finite_R.size * 2 < value_R.size:
        return _UNDEFINED
    if any(isinstance(s, SumStatistic) and s.gaps is not None for s in pair):
        (low_a, high_a), (low_b, high_b) = interval_of(a, first), interval_of(b, second)
        join = math.hypot if low_a > 0 < low_b else operator.add
        below = join(first.value - low_a, high_b - second.value)
        above = join(high_a - first.value, second.value - low_b)
        return max(value - below, limits[0]), min(value + above, limits[1])
    if np.ptp(finite_R) <= 1e-12:
        return unseen_interval(value, n, limits)
    influence_C = np.empty(0)
    if first.influence_C.size and second.influence_C.size:
        influence_C = first.influence_C - second.influence_C
    low, high = unseen_beside(percentiles(finite_R, n, limits), influence_C, value, n, limits)
    return min(low, value), max(high, value)
