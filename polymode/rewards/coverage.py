"""From the number of references found to the coverage term: the aggregations, and what a further hit adds.

With m = Σ y_i references found of N, K answers asked for, and M = min(K, N) the most that can be found:

========= ================================ ============ ==========================
name      value                            range        least gain of a hit
========= ================================ ============ ==========================
count     m                                0 .. M       1
any       1[m > 0]                         0 .. 1       1 if M = 1, else 0
count/K   m / K                            0 .. 1       1 / K
count/N   m / N                            0 .. 1       1 / N
vector    E[max of m coordinates of w]     0 .. 1       1 / (N M) at alpha = 1
========= ================================ ============ ==========================

``count`` is the published sum, ``any`` the published code's default (https://arxiv.org/abs/2603.24844). ``vector`` is
the set's best match under random weights of the references, w ~ Dirichlet(alpha, .., alpha): Vector Policy Optimization
(https://arxiv.org/abs/2605.22817) with "matches reference j" as objective j, its draws replaced by their expectation.

No aggregation looks at confidences, so none moves the best ones. What a *small* gain breaks is the choice of answers:
see `polymode.rewards.conditions`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import expm1, fsum, inf, log1p

AGGREGATIONS = ("count", "any", "count/K", "count/N", "vector")


def coverage_value(aggregation: str, m: int, *, k: int, n: int, alpha: float = 1.0) -> float:
    """Value of m references found of n by k answers, by the table above; 0 when nothing is found."""
    if m == 0:
        return 0.0
    if aggregation == "vector":
        return best_match(m, n, alpha)
    return m / {"count": 1, "any": m, "count/K": k, "count/N": n}[aggregation]


def least_gain(aggregation: str, *, k: int, n: int, alpha: float = 1.0) -> float:
    """The least that one more hit adds: that of the last possible hit, because each aggregation is concave in m."""
    most = max(1, min(k, n))
    before, after = (coverage_value(aggregation, m, k=k, n=max(n, 1), alpha=alpha) for m in (most - 1, most))
    return after - before


@lru_cache(maxsize=4096)
def best_match(m: int, n: int, alpha: float = 1.0) -> float:
    """E[max of m coordinates of w], w ~ Dirichlet(alpha, .., alpha) with n coordinates.

    w is n independent Gamma(alpha) over their sum, and the sum, with mean n alpha, is independent of w. So with G_m the
    largest of m such gammas and P their distribution function::

        E[max] = E[G_m] / (n alpha),     E[G_m] = ∫ 1 - P(x)^m dx      (to about nine digits)

    For alpha = 1 the largest of m exponentials has mean 1 + 1/2 + .. + 1/m. As alpha goes to 0 the value goes to m / n
    (``count/N``), as it goes to infinity to 1 / n (``any``, up to the scale).

    >>> best_match(2, 4)
    0.375
    """
    if alpha == 1:
        return fsum(1 / i for i in range(1, m + 1)) / n
    if m == 1:
        return 1 / n
    from scipy.integrate import quad  # only here: scoring needs no more than the standard library
    from scipy.special import gammaincc, gammaincinv

    def above(x: float) -> float:
        beyond = float(gammaincc(alpha, x))
        return -expm1(m * log1p(-beyond)) if beyond < 1 else 1.0

    # Split at these quantiles, so that the integral misses no narrow part.
    knots = gammaincinv(alpha, (1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1 - 1e-6, 1 - 1e-9, 1 - 1e-13))
    edges = [0.0, *(x for x in map(float, knots) if x > 1e-300)]
    parts = [quad(above, low, high, epsabs=1e-13, epsrel=1e-11)[0] for low, high in pairwise([*edges, inf])]
    return fsum(parts) / (n * alpha)
