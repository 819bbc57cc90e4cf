"""Values with intervals, of one evaluation or of the difference between two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from polymode.uncertainty.intervals import difference_interval, interval_of, percentiles
from polymode.uncertainty.reduction import Block, Clusters, Key, reduce_parts
from polymode.uncertainty.resampling import N_BOOT, Resampled, replicate, resample
from polymode.uncertainty.statistics import Array, Estimate, Statistic, SumStatistic, join_repeats, number_questions


def bootstrap(
    statistics: Mapping[Key, Statistic],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    n_unscored: int = 0,
) -> dict[Key, Estimate]:
    """Value and interval of every statistic, from resamples of questions that all of them share.

    Args:
        statistics: by name, over the same P questions in the same order.
        n_questions: P.
        rng: source of the resamples.
        n_boot: replicates; 0 for no intervals.
        n_unscored: noted in every estimate.
    """
    return bootstrap_parts(
        lambda clusters: [(clusters.whole, statistics)], n_questions, rng=rng, n_boot=n_boot, n_unscored=n_unscored
    )


def bootstrap_parts(
    parts: Callable[[Clusters], Iterable[tuple[Block, Mapping[Key, Statistic]]]],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    n_unscored: int = 0,
    advance: Callable[[int], object] | None = None,
) -> dict[Key, Estimate]:
    """`bootstrap` of statistics that are made for some questions at a time.

    Args:
        parts: blocks of clusters, in order, with the statistics of their questions (`reduce_parts`).
        n_questions: different ones.
        rng: as for `bootstrap`, like those below.
        n_boot: replicates.
        n_unscored: noted in every estimate.
        advance: called with the number of replicates that have just been done.
    """
    clusters = Clusters(n_questions, rng)
    reduced = reduce_parts(parts(clusters), clusters)
    resampled = resample(reduced, clusters, rng=rng, n_boot=n_boot, advance=advance)
    return {name: _estimate(s, resampled[name], n_boot, n_unscored) for name, s in reduced.statistics.items()}


def _estimate(s: Statistic, resampled: Resampled, n_boot: int, n_unscored: int) -> Estimate:
    if n_boot > 0 and (reason := _refusal(s, resampled)):
        return Estimate(math.nan, math.nan, math.nan, s.n, n_unscored, reason)
    low, high = interval_of(s, resampled)
    return Estimate(resampled.value, low, high, s.n, n_unscored, _why_no_interval(s, resampled, low))


def _refusal(s: Statistic, resampled: Resampled) -> str:
    """Why a quotient says nothing: too few questions, or a divisor that is not clearly above 0 (Fieller 1954)."""
    if not isinstance(s, SumStatistic) or s.divisor is None or math.isnan(resampled.value):
        return ""
    n, least = s.n_support, max(s.divisor.least, 2)
    if n < least:
        return f"needs at least {least} questions, has {n}"
    low, high = percentiles(resampled.divisor_R, n)
    if low > 0:
        return ""
    return f"{s.divisor.name} is not clearly above 0 on {n} questions: {resampled.divisor:.4f} [{low:.4f}, {high:.4f}]"


def _why_no_interval(s: Statistic, resampled: Resampled, low: float) -> str:
    if not math.isnan(low) or math.isnan(resampled.value) or resampled.value_R.size == 0:
        return ""
    n = s.n_support
    if n < 2:
        return "no interval: it depends on one question"
    if np.isnan(resampled.value_R).mean() > 0.5:
        return f"no interval: undefined in most resamples of {n} questions"
    return f"no interval: all {n} questions have the same value, and it has no upper limit"


def paired_differences(
    pairs: Mapping[str, tuple[Statistic, Statistic]],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    repeats_P: Array | None = None,
) -> dict[str, Estimate]:
    """``first - second`` of each pair, two arms on the same questions, with intervals from shared resamples.

    Pairing removes the variation between questions that both arms share, which is most of it: the interval of the
    difference is usually far narrower than the two separate intervals suggest.

    Args:
        pairs: by name, the statistics of both arms, over the same questions in the same order.
        n_questions: P, and the n of every difference.
        rng: source of the resamples.
        n_boot: replicates.
        repeats_P: what each question is recognised by, equal for the same one; None: all differ.
    """
    both: dict[tuple[str, int], Statistic] = {
        (name, arm): statistic for name, pair in pairs.items() for arm, statistic in enumerate(pair)
    }
    number_P = np.arange(n_questions) if repeats_P is None else number_questions(repeats_P)
    n_different = int(number_P.max(initial=-1)) + 1
    joined = both if n_different == n_questions else {name: join_repeats(s, number_P) for name, s in both.items()}
    resampled = replicate(joined, n_different, rng=rng, n_boot=n_boot)
    out = {}
    for name in pairs:
        a, b = joined[name, 0], joined[name, 1]
        first, second = resampled[name, 0], resampled[name, 1]
        refusal = next((why for s, one in ((a, first), (b, second)) if n_boot and (why := _refusal(s, one))), "")
        if refusal:
            out[name] = Estimate(math.nan, math.nan, math.nan, n_questions, reason=refusal)
            continue
        low, high = difference_interval((a, b), (first, second))
        out[name] = Estimate(first.value - second.value, low, high, n_questions)
    return out
