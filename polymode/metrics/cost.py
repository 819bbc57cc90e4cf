"""Cost: generated tokens per completion, per set and per reference found (layer L2)."""

from __future__ import annotations

import numpy as np

from polymode.metrics.table import Floats, JudgedTable
from polymode.uncertainty import SumStatistic, question_sums, ratio


def tokens_per_reference(n_tokens: Floats, hits: Floats) -> float:
    """Total generated tokens / total distinct references found; NaN when nothing was found.

    Args:
        n_tokens: tokens of each set, shape (N,). Sets with NaN are left out of both sums.
        hits: references each set found, shape (N,).
    """
    known = ~np.isnan(n_tokens)
    return float(ratio(n_tokens[known].sum(), hits[known].sum()))


def tokens_per_reference_statistic(table: JudgedTable) -> SumStatistic:
    """`tokens_per_reference` with its per-question sums; n counts sets with a known number of tokens."""
    known = ~np.isnan(table.n_tokens)
    question = table.question[known]
    return SumStatistic(
        (
            question_sums(question, table.n_tokens[known], table.n_questions),
            question_sums(question, table.hits[known], table.n_questions),
        ),
        ratio,
        int(known.sum()),
    )
