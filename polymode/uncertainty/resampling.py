"""Replicates: all statistics recomputed on the same resamples of questions.

One replicate draws P questions with replacement, which is a vector of integer weights w_1..w_P with sum P
(multinomial). Almost every metric is a function of sums over questions, so that all replicates are one matrix product

    sums_R_S = weights_R_P @ sums_P_S          value_R = finish(sums_R_S)

and a million answers cost no more than their per-question sums. Of very many questions, random groups are resampled as
if each were one question: sums over groups vary as those over questions do (random groups, Wolter 2007, chapter 2), and
neither time nor memory grows further. Metrics that need the order of the answers (AUROC and AURC over many different
confidences) are recomputed under the weights, with fewer replicates when that gets long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from polymode.uncertainty.reduction import Clusters, Key, Reduced, reduce_parts
from polymode.uncertainty.statistics import Array, Gaps, Statistic, SumStatistic, WeightedStatistic, ratio

N_BOOT = 1000
"""Replicates of an interval by default."""
MAX_ITEM_VISITS = 50_000_000
"""A statistic that is recomputed item by item gets min(n_boot, MAX_ITEM_VISITS / items) replicates, at least 100."""
_BLOCK_BYTES, _SLAB = 96 * 2**20, 8192


def _none() -> Array:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A statistic on the questions as they are, and on resamples of them."""

    value: float
    value_R: Array
    """At most ``n_boot``; none with fewer than two questions."""
    size: float = math.nan
    """Size of the gaps, without the power and what a corrected metric takes off; NaN for other statistics."""
    size_R: Array = field(default_factory=_none)
    noise_R: Array = field(default_factory=_none)
    """Size of what the gaps of each resample differ by from those of the sample."""
    divisor: float = math.nan
    divisor_R: Array = field(default_factory=_none)
    stated_noise_R: Array = field(default_factory=_none)
    """Size of the gaps of labels drawn by what was stated; empty where it says nothing about labels of 0 and 1."""
    influence_C: Array = field(default_factory=_none)
    """By how much each cluster of questions moves a mean; empty for what is no mean."""


def resample_questions(n_questions: int, n_boot: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield blocks (R, P) of question weights, ``n_boot`` rows in all; every row has sum P."""
    # Whole numbers below 2^16 suffice for how often a question is drawn, and a block stays below `_BLOCK_BYTES`. Rows
    # are drawn one by one, so the resamples of a seed do not depend on the size of the blocks.
    rows = max(1, min(n_boot, 250, _BLOCK_BYTES // (2 * max(n_questions, 1))))
    for start in range(0, n_boot, rows):
        weight_R_P = np.empty((min(rows, n_boot - start), n_questions), dtype=np.uint16)
        for weight_P in weight_R_P:
            draws_P = rng.integers(0, n_questions, n_questions, dtype=np.int32)
            weight_P[:] = np.bincount(draws_P, minlength=n_questions)
        yield weight_R_P


def replicate(
    statistics: Mapping[Key, Statistic],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> dict[Key, Resampled]:
    """Values on the questions as they are, and on ``n_boot`` resamples that all statistics share.

    Args:
        statistics: by name, all over the same P questions in the same order.
        n_questions: P. With P < 2 there is nothing to resample and the replicates are empty.
        rng: source of the resamples.
        n_boot: replicates; a `WeightedStatistic` over many items gets fewer (`MAX_ITEM_VISITS`).
    """
    clusters = Clusters(n_questions, rng)
    reduced = reduce_parts([(clusters.whole, statistics)], clusters)
    return resample(reduced, clusters, rng=rng, n_boot=n_boot)


def resample(
    reduced: Reduced[Key],
    clusters: Clusters,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    advance: Callable[[int], object] | None = None,
) -> dict[Key, Resampled]:
    """`replicate` of statistics that are sums of clusters already."""
    statistics, sums_C_S, places, own_C_S, own_places = reduced
    sums = {name: s for name, s in statistics.items() if isinstance(s, SumStatistic) and s.n}
    weighted = {name: s for name, s in statistics.items() if isinstance(s, WeightedStatistic) and s.n}
    one_C = np.ones(clusters.n)
    can_resample = clusters.n_questions >= 2 and n_boot >= 1
    limit = {name: min(n_boot, max(100, MAX_ITEM_VISITS // s.n)) for name, s in weighted.items()}
    totals, own_totals = [np.empty((0, sums_C_S.shape[1]))], [np.empty((0, own_C_S.shape[1]))]
    recomputed: dict[Key, list[float]] = {name: [] for name in weighted}
    for weight_R_C in resample_questions(clusters.n, n_boot, rng) if can_resample else ():
        totals.append(_weighted(weight_R_C, sums_C_S))
        own_totals.append(_weighted(weight_R_C, own_C_S, power=2))
        for name, s in weighted.items():
            n_missing = max(limit[name] - len(recomputed[name]), 0)
            of_questions = (clusters.of_questions(weight_C.astype(float)) for weight_C in weight_R_C[:n_missing])
            recomputed[name].extend(map(s.compute, of_questions))
        if advance is not None:
            advance(len(weight_R_C))
    total_1_S, total_R_S = one_C[None] @ sums_C_S, np.concatenate(totals)
    own_1_S, own_R_S = one_C[None] @ own_C_S, np.concatenate(own_totals)
    undefined = Resampled(math.nan, _none())
    out = dict.fromkeys(statistics, undefined)
    (drawing,) = rng.spawn(1)  # of its own, so that the resamples do not depend on which statistics there are
    for name, s in sums.items():
        sums_1, sums_R = (
            [total[:, place] for place in places[name]] + [pairs[:, place] for place in own_places.get(name, ())]
            for total, pairs in ((total_1_S, own_1_S), (total_R_S, own_R_S))
        )
        out[name] = _resampled(s, sums_1, sums_R)
        if s.finish is ratio and all(isinstance(place, int) for place in places[name]):
            total_C, n_C = (sums_C_S[:, place] for place in places[name])
            out[name] = replace(out[name], influence_C=(total_C - out[name].value * n_C) / n_C.sum())
        if s.gaps is not None and s.gaps.outcomes and _are_whole(sums_C_S[:, places[name][2]]):
            out[name] = replace(out[name], stated_noise_R=_stated_noise(s.gaps, sums_1, n_boot, drawing))
    one_P = np.ones(clusters.n_questions)
    return out | {name: Resampled(s.compute(one_P), np.array(recomputed[name])) for name, s in weighted.items()}


def _resampled(s: SumStatistic, sums_1: list[Array], sums_R: list[Array]) -> Resampled:
    size, divisor = math.nan, math.nan
    size_R, noise_R, divisor_R = _none(), _none(), _none()
    if s.gaps is not None:
        gap_1_B, gap_R_B = (np.nan_to_num(s.gaps.of(*sums)) for sums in (sums_1, sums_R))
        size, size_R = float(s.gaps.size(gap_1_B)[0]), s.gaps.size(gap_R_B)
        noise_R = s.gaps.size(gap_R_B - gap_1_B)
    if s.divisor is not None:
        divisor, divisor_R = float(s.divisor.of(*sums_1)[0]), s.divisor.of(*sums_R)
    return Resampled(float(s.finish(*sums_1)[0]), s.finish(*sums_R), size, size_R, noise_R, divisor, divisor_R)


def _are_whole(sums: Array) -> bool:
    """Whether these are sums of labels of 0 and 1 and not of soft ones, which hardly have noise."""
    return bool((np.abs(sums - np.rint(sums)) < 1e-9).all())


def _stated_noise(gaps: Gaps, sums_1: list[Array], n: int, rng: np.random.Generator) -> Array:
    """Sizes (R,) of the gaps of labels drawn by what was stated, binomial in each bin.

    Answers to one question may all be right together. Where a bin has right and wrong ones, resampling whole questions
    shows how far they are, and they are drawn one by one here. Where all are right, or all wrong, nothing shows it, so
    the worst is assumed: n answers, n_Q of each question Q, count as n^2 / sum n_Q^2 independent ones (Kish 1965).

    Source: consistency resampling, Broecker & Smith 2007, doi:10.1175/WAF993.1.
    """
    count_1_B, stated_1_B, true_1_B, *_ = sums_1
    outcomes_1_B = np.rint(count_1_B) * gaps.outcomes
    p_1_B = np.clip(np.nan_to_num(ratio(stated_1_B, outcomes_1_B)), 0.0, 1.0)
    is_alike_1_B = (np.rint(true_1_B) == 0) | (np.rint(true_1_B) == outcomes_1_B)
    together_1_B = np.maximum(np.rint(np.nan_to_num(ratio(count_1_B**2, sums_1[gaps.squares]))), 1.0)
    drawn_1_B = np.where(is_alike_1_B, together_1_B, outcomes_1_B)
    share_R_B = rng.binomial(drawn_1_B.astype(np.int64), p_1_B, (n, count_1_B.shape[1])) / drawn_1_B
    return gaps.size(np.nan_to_num(gaps.of(count_1_B, stated_1_B, share_R_B * outcomes_1_B, *sums_1[3:])))


def _weighted(weight_R_C: Array, sums_C_S: Array, power: int = 1) -> Array:
    """Sums of every replicate (R, S), of weights to a power."""
    total_R_S = np.zeros((len(weight_R_C), sums_C_S.shape[1]))
    if total_R_S.size:
        for start in range(0, len(sums_C_S), _SLAB):  # slab by slab, so that only a slab of weights becomes float64
            weight = weight_R_C[:, start : start + _SLAB].astype(float) ** power
            total_R_S += weight @ sums_C_S[start : start + _SLAB]
    return total_R_S
