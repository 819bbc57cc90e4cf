"""Intervals for metrics: a bootstrap that resamples whole questions (layer L2).

Completions of one question share its difficulty, so they are not independent observations; questions are. One
replicate draws P questions with replacement, which is a vector of integer weights w_1..w_P with sum P (multinomial).
Almost every metric is a function of sums over questions, so that all replicates are one matrix product

    sums_R_S = weights_R_P @ sums_P_S          value_R = finish(sums_R_S)

and a million answers cost no more than their per-question sums. Metrics that need the order of the answers (AUROC and
AURC over many different confidences) are recomputed under the weights, with fewer replicates when that gets long. Axes:
``_P`` question, ``_R`` replicate, ``_S`` column of sums, ``_N`` flat items.

Intervals are percentile intervals (Efron & Tibshirani 1993, chapter 13; clusters: Field & Welsh 2007,
doi:10.1111/j.1467-9868.2007.00593.x). Sums of absolute errors such as the ECE come out too high, in the sample and once
more in every resample; their intervals are shifted back by the second excess only (`SumStatistic.is_absolute`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Key = TypeVar("Key", bound=Hashable)

N_BOOT = 1000
"""Replicates of an interval by default."""
LEVEL = 0.95
"""Share of the replicates inside an interval."""
MAX_ITEM_VISITS = 50_000_000
"""A statistic that is recomputed item by item gets min(n_boot, MAX_ITEM_VISITS / items) replicates, at least 100."""
_BLOCK_BYTES, _SLAB = 96 * 2**20, 8192


@dataclass(frozen=True, slots=True)
class Estimate:
    """A reported number with its interval; NaN where undefined."""

    value: float
    low: float
    """Lower end of the interval; NaN with fewer than two questions."""
    high: float
    """Upper end of the interval; NaN with fewer than two questions."""
    n: int
    """Units the value was computed from (questions, sets, completions or answers: docs/metrics.md says which)."""
    n_unscored: int = 0
    """Completions left out because a verifier failed on them."""


@dataclass(frozen=True, eq=False)
class SumStatistic:
    """A metric that is a function of sums over questions."""

    sums: tuple[Array, ...]
    """Per-question sums, each of shape (P,) or (P, S). An array shared by several statistics is multiplied once."""
    finish: Callable[..., Array]
    """Maps the weighted sums, each (R,) or (R, S), to values (R,); NaN where undefined."""
    n: int
    """Units the value is computed from."""
    is_absolute: bool = False
    """Whether it adds absolute or squared errors, so that noise can only raise it. The replicates of such a metric are
    shifted back by their mean excess over the value, to no less than 0, so that the interval holds the value."""


@dataclass(frozen=True, eq=False)
class WeightedStatistic:
    """A metric that is recomputed for every vector of question weights."""

    compute: Callable[[Array], float]
    """Maps weights (P,) to the value; NaN where undefined."""
    n: int
    """Units the value is computed from, and the cost of one replicate."""
    is_absolute: bool = False
    """As in `SumStatistic`."""


Statistic = SumStatistic | WeightedStatistic


def ratio(numerator: Array | float, denominator: Array | float) -> Array:
    """``numerator / denominator``, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def question_sums(question_N: Array, x_N: Array | None, n_questions: int) -> Array:
    """Sum of x over the items of each question; their number when x is None. Shape (P,)."""
    return np.bincount(question_N, weights=x_N, minlength=n_questions).astype(float)


def mean_of_items(question_N: Array, x_N: Array, n_questions: int) -> SumStatistic:
    """Mean over all items, each with equal weight: sum_i x_i / n. NaN items are left out; n counts items."""
    is_defined_N = ~np.isnan(x_N)
    question_N, x_N = question_N[is_defined_N], x_N[is_defined_N]
    sums = (question_sums(question_N, x_N, n_questions), question_sums(question_N, None, n_questions))
    return SumStatistic(sums, ratio, len(x_N))


def mean_of_questions(question_N: Array, x_N: Array, n_questions: int) -> SumStatistic:
    """Mean over questions of the mean of a question's items. NaN items are left out; n counts questions with items."""
    total_P, count_P = mean_of_items(question_N, x_N, n_questions).sums
    has_items_P = (count_P > 0).astype(float)
    return SumStatistic((np.nan_to_num(ratio(total_P, count_P)), has_items_P), ratio, int(has_items_P.sum()))


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
    advance: Callable[[int], object] | None = None,
) -> tuple[dict[Key, float], dict[Key, Array]]:
    """Values on the questions as they are, and on ``n_boot`` resamples that all statistics share.

    Args:
        statistics: by name, all over the same P questions in the same order.
        n_questions: P. With P < 2 there is nothing to resample and the replicates are empty.
        rng: source of the resamples.
        n_boot: replicates; a `WeightedStatistic` over many items gets fewer (`MAX_ITEM_VISITS`).
        advance: called with the number of replicates that have just been done.

    Returns:
        The value by name, and its replicates (at most n_boot,) by name.
    """
    sums = {name: s for name, s in statistics.items() if isinstance(s, SumStatistic) and s.n}
    weighted = {name: s for name, s in statistics.items() if isinstance(s, WeightedStatistic) and s.n}
    sums_P_S, places = _stack(sums, n_questions)

    def finish(total_R_S: Array) -> dict[Key, Array]:
        return {name: s.finish(*(total_R_S[:, place] for place in places[name])) for name, s in sums.items()}

    one_P = np.ones(n_questions)
    values = dict.fromkeys(statistics, math.nan)
    values |= {name: float(v[0]) for name, v in finish(one_P[None] @ sums_P_S).items()}
    values |= {name: s.compute(one_P) for name, s in weighted.items()}
    replicates: dict[Key, Array] = {name: np.empty(0) for name in statistics}
    if n_questions < 2 or n_boot < 1:
        return values, replicates
    limit = {name: min(n_boot, max(100, MAX_ITEM_VISITS // s.n)) for name, s in weighted.items()}
    totals: list[Array] = []
    recomputed: dict[Key, list[float]] = {name: [] for name in weighted}
    for weight_R_P in resample_questions(n_questions, n_boot, rng):
        total_R_S = np.zeros((len(weight_R_P), sums_P_S.shape[1]))
        for start in range(0, n_questions, _SLAB):  # slab by slab, so that only a slab of weights becomes float64
            total_R_S += weight_R_P[:, start : start + _SLAB].astype(float) @ sums_P_S[start : start + _SLAB]
        totals.append(total_R_S)
        for name, s in weighted.items():
            n_missing = max(limit[name] - len(recomputed[name]), 0)
            recomputed[name].extend(s.compute(weight_P.astype(float)) for weight_P in weight_R_P[:n_missing])
        if advance is not None:
            advance(len(weight_R_P))
    return values, replicates | finish(np.concatenate(totals)) | {name: np.array(v) for name, v in recomputed.items()}


def _stack(sums: Mapping[Key, SumStatistic], n_questions: int) -> tuple[Array, dict[Key, list[int | slice]]]:
    """All per-question sums side by side (P, S), equal arrays once, and the columns of each statistic."""
    columns: dict[Hashable, int | slice] = {}
    places: dict[Key, list[int | slice]] = {name: [] for name in sums}
    blocks, width = [np.empty((n_questions, 0))], 0
    for name, s in sums.items():
        for a in s.sums:
            key = a.shape, hash(a.tobytes())
            if key not in columns:
                columns[key] = width if a.ndim == 1 else slice(width, width + a.shape[1])
                width += 1 if a.ndim == 1 else a.shape[1]
                blocks.append(a)
            places[name].append(columns[key])
    return np.column_stack(blocks), places


def bootstrap(
    statistics: Mapping[Key, Statistic],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    n_unscored: int = 0,
    advance: Callable[[int], object] | None = None,
) -> dict[Key, Estimate]:
    """Value and interval of every statistic, from resamples of questions that all of them share.

    Args:
        statistics: by name, over the same P questions in the same order.
        n_questions: P.
        rng: source of the resamples.
        n_boot: replicates.
        n_unscored: noted in every estimate.
        advance: called with the number of replicates that have just been done.
    """
    values, replicates = replicate(statistics, n_questions, rng=rng, n_boot=n_boot, advance=advance)
    estimates = {}
    for name, s in statistics.items():
        ends = percentile_interval(values[name], replicates[name], is_absolute=s.is_absolute, least=0.0)
        estimates[name] = Estimate(values[name], *ends, s.n, n_unscored)
    return estimates


def percentile_interval(
    value: float, value_R: Array, *, is_absolute: bool = False, least: float = -math.inf
) -> tuple[float, float]:
    """The central `LEVEL` of the replicates; NaN when the value or more than half of them are undefined.

    |noise| does not average out: the value of an absolute statistic has such an excess over the truth, and a replicate,
    noise on top of noise, has it twice. Only the second one can be measured. So the replicates are moved until their
    mean is the value, none below ``least``, or the interval would lie above its value.
    """
    finite = value_R[np.isfinite(value_R)]
    if math.isnan(value) or finite.size == 0 or finite.size * 2 < value_R.size:
        return math.nan, math.nan
    if is_absolute:
        finite = np.maximum(finite - (finite.mean() - value), least)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def restrict(statistic: Statistic, index: Array, n_questions: int) -> Statistic:
    """The same statistic over the questions at ``index`` only, with the same n.

    Args:
        statistic: over ``n_questions`` questions.
        index: positions of the questions, in their new order.
        n_questions: questions of ``statistic``.
    """
    if isinstance(statistic, SumStatistic):
        return replace(statistic, sums=tuple(a[index] for a in statistic.sums))
    compute = statistic.compute

    def weighted(weight_I: Array) -> float:
        weight_P = np.zeros(n_questions)
        weight_P[index] = weight_I
        return compute(weight_P)

    return replace(statistic, compute=weighted)


def paired_differences(
    pairs: Mapping[str, tuple[Statistic, Statistic]],
    n_questions: int,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> dict[str, Estimate]:
    """``first - second`` of each pair, two arms on the same questions, with intervals from shared resamples.

    Pairing removes the variation between questions that both arms share, which is most of it: the interval of the
    difference is usually far narrower than the two separate intervals suggest.

    Args:
        pairs: by name, the statistics of both arms, over the same questions in the same order.
        n_questions: P, and the n of every difference.
        rng: source of the resamples.
        n_boot: replicates.
    """
    both: dict[tuple[str, int], Statistic] = {
        (name, arm): statistic for name, pair in pairs.items() for arm, statistic in enumerate(pair)
    }
    values, replicates = replicate(both, n_questions, rng=rng, n_boot=n_boot)
    out = {}
    for name, pair in pairs.items():
        value = values[name, 0] - values[name, 1]
        shared = min(len(replicates[name, 0]), len(replicates[name, 1]))
        value_R = replicates[name, 0][:shared] - replicates[name, 1][:shared]
        ends = percentile_interval(value, value_R, is_absolute=any(s.is_absolute for s in pair))
        out[name] = Estimate(value, *ends, n_questions)
    return out
