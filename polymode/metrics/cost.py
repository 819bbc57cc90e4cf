"""Cost: generated tokens per reference found (layer L2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from polymode.metrics.observations import floats
from polymode.metrics.table import JudgedTable
from polymode.uncertainty import SumStatistic, question_sums, ratio


def tokens_per_reference(n_tokens_N: ArrayLike, hits_N: ArrayLike) -> float:
    """Total generated tokens / total distinct references found; NaN when nothing was found.

    Args:
        n_tokens_N: tokens of each set, shape (n,). Sets with NaN are left out of both sums.
        hits_N: references each set found, shape (n,).

    >>> tokens_per_reference([30, 10, 20], [2, 0, 1])
    20.0
    """
    n_tokens_N, hits_N = floats("n_tokens", n_tokens_N, 0), floats("hits", hits_N, 0)
    is_known_N = ~np.isnan(n_tokens_N)
    return float(ratio(n_tokens_N[is_known_N].sum(), hits_N[is_known_N].sum()))


def tokens_per_reference_statistic(table: JudgedTable) -> SumStatistic:
    """`tokens_per_reference` with its per-question sums; n counts sets with a known number of tokens."""
    is_known_N = ~np.isnan(table.n_tokens)
    sums = (
        question_sums(table.question[is_known_N], x_N[is_known_N], table.n_questions)
        for x_N in (table.n_tokens, table.hits)
    )
    return SumStatistic(tuple(sums), ratio, int(is_known_N.sum()))
