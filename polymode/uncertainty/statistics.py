"""What an interval can be computed of: metrics as functions of sums over questions, or of weights on questions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Limits = tuple[float, float]
"""The least and the greatest value that a metric can have."""


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
    reason: str = ""
    """Why there is no value, or no interval, although there are observations."""


class Gaps(NamedTuple):
    """Signed gaps whose size a metric adds up, such as confidence minus hit rate of each bin: noise only raises it."""

    of: Callable[..., Array]
    """Maps the weighted sums to gaps (R, B)."""
    size: Callable[[Array], Array]
    """Maps gaps (R, B) to their size (R,); ``size(a + b) <= size(a) + size(b)``."""
    power: int = 1
    """The metric is the size to this power."""
    outcomes: int = 0
    """Where the first three sums of a bin are its count, its stated and its true outcomes: the most outcomes that one
    of the count can have, as one answer has one and a set K. What was stated is then a hypothesis about them, under
    which all gaps are 0, and its noise is known where resamples have none: 20 right answers of 20. 0: there is none."""
    squares: int = 0
    """With `outcomes`: place among the sums of those over questions of a bin's squared count."""


class Divisor(NamedTuple):
    """What a quotient is divided by; near 0 it has no value that means something."""

    of: Callable[..., Array]
    """Maps the weighted sums to divisors (R,)."""
    name: str
    least: int = 0
    """Questions without which the quotient is not reported."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Common:
    limits: Limits = (-math.inf, math.inf)
    """Least and greatest possible value."""
    support: tuple[Array, ...] = ()
    """(P,) each: which questions there must be for a value at all, such as those with a right and those with a wrong
    answer; the scarcer ones limit what an interval can know. Empty: all questions with observations."""
    n_supporting: int | None = None
    """Their number, where the statistic holds no sums of questions (`polymode.uncertainty.reduction`)."""


@dataclass(frozen=True, eq=False)
class SumStatistic(_Common):
    """A metric that is a function of sums over questions."""

    sums: tuple[Array, ...]
    """Per-question sums, each of shape (P,) or (P, S). An array shared by several statistics is multiplied once."""
    finish: Callable[..., Array]
    """Maps the weighted sums, each (R,) or (R, S), to values (R,); NaN where undefined."""
    n: int
    """Units the value is computed from."""
    is_share: bool = False
    """Whether it is a quotient of two sums that counts outcomes (hits of the possible ones, wrong of all answers)."""
    is_variance: bool = False
    """Whether it is p (1 - p) of a share p, or a mean of such: 0 where all outcomes are alike, right or wrong."""
    gaps: Gaps | None = None
    """Of a metric that adds up the size of gaps."""
    divisor: Divisor | None = None
    """Of a quotient that is refused where its divisor may be 0."""
    derive: Callable[..., tuple[Array, ...]] | None = None
    """Further per-question sums, computed from the sums of a whole question: squares, which cannot be added up."""
    own_pairs: Callable[..., tuple[Array, ...]] | None = None
    """Products of a question's sums with each other, which a sum over pairs of different questions leaves out: those of
    a question that is drawn w times count w^2 times."""

    @property
    def all_sums(self) -> tuple[Array, ...]:
        """The sums and what is derived of them."""
        return self.sums if self.derive is None else (*self.sums, *self.derive(*self.sums))

    @property
    def n_support(self) -> int:
        """Questions that an interval can count on."""
        return min(self.support_counts) if self.n_supporting is None else self.n_supporting

    @property
    def support_counts(self) -> tuple[int, ...]:
        """Questions of each kind that there must be."""
        if self.support:
            return tuple(int(np.count_nonzero(has_P)) for has_P in self.support)
        has_any_P = np.zeros(len(self.sums[0]), dtype=bool)
        for a in self.sums:
            has_any_P |= a.any(axis=1) if a.ndim > 1 else a != 0
        return (int(np.count_nonzero(has_any_P)),)


class Items(NamedTuple):
    """What a statistic is recomputed from, item by item."""

    group_N: Array
    """Place of its confidence among the different ones."""
    question_N: Array
    label_N: Array


@dataclass(frozen=True, eq=False)
class WeightedStatistic(_Common):
    """A metric that is recomputed for every vector of question weights."""

    compute: Callable[[Array], float]
    """Maps weights (P,) to the value; NaN where undefined."""
    n: int
    """Units the value is computed from, and the cost of one replicate."""
    items: Items | None = None
    """What ``compute`` is made from, so that the statistics of some questions can be joined."""
    of_items: Callable[[Items], Callable[[Array], float]] | None = None
    """How."""

    @property
    def n_support(self) -> int:
        """Questions that an interval can count on; without ``support`` the n."""
        return min(self.support_counts, default=self.n) if self.n_supporting is None else self.n_supporting

    @property
    def support_counts(self) -> tuple[int, ...]:
        """Questions of each kind that there must be."""
        return tuple(int(np.count_nonzero(has_P)) for has_P in self.support)


Statistic = SumStatistic | WeightedStatistic


def ratio(numerator: Array | float, denominator: Array | float) -> Array:
    """``numerator / denominator``, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def question_sums(question_N: Array, x_N: Array | None, n_questions: int) -> Array:
    """Sum of x over the items of each question; their number when x is None. Shape (P,)."""
    return np.bincount(question_N, weights=x_N, minlength=n_questions).astype(float)


def mean_of_items(question_N: Array, x_N: Array, n_questions: int, **about: Any) -> SumStatistic:
    """Mean over all items, each with equal weight: sum_i x_i / n. NaN items are left out; n counts items.

    ``about`` are further fields of the statistic.
    """
    is_defined_N = ~np.isnan(x_N)
    question_N, x_N = question_N[is_defined_N], x_N[is_defined_N]
    sums = (question_sums(question_N, x_N, n_questions), question_sums(question_N, None, n_questions))
    return SumStatistic(sums, ratio, len(x_N), **about)


def mean_of_questions(question_N: Array, x_N: Array, n_questions: int, **about: Any) -> SumStatistic:
    """Mean over questions of the mean of a question's items. NaN items are left out; n counts questions with items.

    ``about`` are further fields of the statistic.
    """
    total_P, count_P = mean_of_items(question_N, x_N, n_questions).sums
    has_items_P = (count_P > 0).astype(float)
    sums = (np.nan_to_num(ratio(total_P, count_P)), has_items_P)
    return SumStatistic(sums, ratio, int(has_items_P.sum()), **about)


def restrict(statistic: Statistic, index: Array, n_questions: int) -> Statistic:
    """The same statistic over the questions at ``index`` only, with the same n.

    Args:
        statistic: over ``n_questions`` questions.
        index: positions of the questions, in their new order.
        n_questions: questions of ``statistic``.
    """
    support = tuple(has_P[index] for has_P in statistic.support)
    if isinstance(statistic, SumStatistic):
        return replace(statistic, sums=tuple(a[index] for a in statistic.sums), support=support)
    compute = statistic.compute

    def weighted(weight_I: Array) -> float:
        weight_P = np.zeros(n_questions)
        weight_P[index] = weight_I
        return compute(weight_P)

    return replace(statistic, compute=weighted, support=support, items=None)


def number_questions(repeats_P: Array) -> Array:
    """Numbers 0, 1, ... of questions, equal where what they are recognised by is; in their order where all differ."""
    different, number_P = np.unique(repeats_P, return_inverse=True)
    return number_P if len(different) < len(number_P) else np.arange(len(number_P))


def join_repeats(statistic: Statistic, number_P: Array) -> Statistic:
    """The same statistic, in which questions of equal number 0, 1, ... are drawn together, with the same value and n.

    A question that occurs twice under two ids is one observation of how hard questions are.
    """
    order_P = np.argsort(number_P, kind="stable")
    start = np.flatnonzero(np.diff(number_P[order_P], prepend=-1))

    def joined(a: Array) -> Array:
        return np.add.reduceat(a[order_P], start, axis=0) if len(a) else a

    support = tuple(joined(has_P.astype(float)) for has_P in statistic.support)
    if isinstance(statistic, SumStatistic):
        return replace(statistic, sums=tuple(map(joined, statistic.sums)), support=support)
    if statistic.items is not None and statistic.of_items is not None:
        items = statistic.items._replace(question_N=number_P[statistic.items.question_N].astype(np.int32))
        return replace(statistic, compute=statistic.of_items(items), support=support, items=items)
    compute = statistic.compute
    return replace(statistic, compute=lambda weight_C: compute(weight_C[number_P]), support=support)
