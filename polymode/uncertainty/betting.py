"""Tests that may be looked at after every observation: wealth won by betting against a hypothesis (layer L2).

Under the hypothesis no bet is favourable, so a wealth M_t that begins at 1 reaches 1 / delta, ever, with probability at
most delta (Ville's inequality 1939; Shafer & Vovk 2019, Game-Theoretic Foundations for Probability and Finance). It is
therefore no fault to look again after each observation, and to stop whenever one likes.

- A rate: outcomes x of 0 or 1 with P(x_t = 1 | past) <= alpha for all t. Bets are likelihood ratios p / alpha and
  (1 - p) / (1 - alpha) for several p > alpha, whose expectation is at most 1 for every smaller rate too
  (Waudby-Smith & Ramdas 2024, https://doi.org/10.1093/jrsssb/qkad009).
- Exchangeability: each value's rank among all earlier ones, with ties broken at random, is a p-value; for exchangeable
  values these are independent and uniform (Vovk, Nouretdinov & Gammerman 2003, "Testing exchangeability on-line";
  Vovk, Gammerman & Shafer 2022, doi:10.1007/978-3-031-06649-8, chapter 8). Bets are densities 1 + c cos(j pi p).

What changes does so at a time that nobody knows, and a bet that began long before has lost much by then. So bets begin
at every time s, with weights w_s that add up to 1 over all times, without a horizon:

    M_t = sum_{s <= t} w_s prod_{i=s..t} e_i + sum_{s > t} w_s

(a mixture over start times, the test form of Shiryaev's and Roberts' procedures). The price of a change at time s is
log(1 / w_s), about log s + 2 log log s.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence

import numpy as np

from polymode.uncertainty.statistics import Array

FIRST = 0.5
"""Weight of a change before the first observation."""
DELAY = 20.0
"""Start times up to about this have nearly equal weights."""
ODDS = (1.5, 2.0, 3.0, 5.0, 10.0)
"""Alternatives to a rate alpha, by how many times its odds they are."""
STRENGTHS = (-0.9, -0.5, -0.25, 0.25, 0.5, 0.9)
FREQUENCIES = (1, 2, 3)
MOST = 1e100
"""Wealth is not followed beyond; less than what was won is still a fair bet."""


def start_weight(number: int) -> float:
    """Weight of the start time with this number, from 1; those from there on are `weight_from`."""
    return weight_from(number) - weight_from(number + 1)


def weight_from(number: int) -> float:
    """Weight of the start time with this number and all later ones; 1 for the first."""
    rest = (1 - FIRST) * math.log(DELAY) / math.log(number - 1 + DELAY)
    return rest + FIRST if number == 1 else rest


class BettingMartingale:
    """Wealth of several bets with equal shares, each begun at every time.

    Args:
        n_bets: bets of each time.
        every: observations between two start times.
    """

    def __init__(self, n_bets: int, *, every: int = 1) -> None:
        self.n = 0
        """Observations."""
        self.wealth = self.peak = 1.0
        """M_t, and its largest value so far."""
        self._every, self._n_starts = every, 0
        self._wealth_B = np.zeros(n_bets)

    def bet(self, factors_N_B: Array) -> Array:
        """Multiply by what each bet returns for each of N observations; the wealth (N,) after each.

        Args:
            factors_N_B: nonnegative, with an expectation of at most 1 given all earlier observations.
        """
        wealth_N = np.empty(len(factors_N_B))
        start = 0
        while start < len(factors_N_B):
            if self.n % self._every == 0:
                self._n_starts += 1
                self._wealth_B += start_weight(self._n_starts)
            end = min(len(factors_N_B), start + self._every - self.n % self._every)
            grown_N_B = np.minimum(self._wealth_B * np.cumprod(factors_N_B[start:end], axis=0), MOST)
            wealth_N[start:end] = grown_N_B.mean(axis=1) + weight_from(self._n_starts + 1)
            self._wealth_B = grown_N_B[-1]
            self.n += end - start
            start = end
        self.wealth = float(wealth_N[-1]) if len(wealth_N) else self.wealth
        self.peak = max([self.peak, *wealth_N.tolist()])
        return wealth_N


class RateTest(BettingMartingale):
    """Against: each outcome is 1 with a probability of at most alpha, whatever came before."""

    def __init__(self, alpha: float) -> None:
        super().__init__(len(ODDS))
        odds = np.array(ODDS) * alpha / (1 - alpha)
        p = odds / (1 + odds)
        self._factors_2_B = np.array([(1 - p) / (1 - alpha), p / alpha])

    def observe(self, outcomes: Sequence[bool]) -> Array:
        """The wealth (N,) after each of some more outcomes."""
        return self.bet(self._factors_2_B[np.array(outcomes, dtype=int)])


class ExchangeabilityTest(BettingMartingale):
    """Against: the values, those of the reference included, are exchangeable, as they are when drawn alike.

    Args:
        reference: values to begin with, which are not bet on.
        every: observations between two start times.
    """

    def __init__(self, reference: Iterable[float], *, every: int = 50) -> None:
        super().__init__(len(STRENGTHS) * len(FREQUENCIES), every=every)
        self._values = sorted(reference)
        self._angles_B = np.pi * np.repeat(FREQUENCIES, len(STRENGTHS))
        self._strengths_B = np.tile(STRENGTHS, len(FREQUENCIES))

    def p_value(self, value: float, u: float) -> float:
        """Share of earlier values below ``value``, with u, uniform in [0, 1], of those equal to it and of itself."""
        below, up_to = bisect_left(self._values, value), bisect_right(self._values, value)
        return (below + u * (up_to - below + 1)) / (len(self._values) + 1)

    def observe(self, values: Sequence[float], u: Sequence[float]) -> Array:
        """The wealth (N,) after each of some more values, with a uniform number for each."""
        p_N = np.empty(len(values))
        for i, (value, own) in enumerate(zip(values, u, strict=True)):
            p_N[i] = self.p_value(value, own)
            insort(self._values, value)
        return self.bet(1 + self._strengths_B * np.cos(self._angles_B * p_N[:, None]))
