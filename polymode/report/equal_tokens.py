"""Coverage at equal tokens: coverage of an arm with the tokens of one multi-answer completion (layer L4).

    m = budget / tokens_per_completion        coverage_at_equal_tokens = U(m)

with U(m) the expected number of distinct references found by m completions (curve ``unique_references``), interpolated
linearly between whole m, as if the number of completions were the next lower or the next higher one at random, mean m.
The budget is the mean length of one completion of the multi-rlvr arm with K = 3, else of the multi-rlcr one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from polymode.report.arms import ArmData, Cell, combine, number
from polymode.uncertainty import Estimate

METRIC = "coverage_at_equal_tokens"
_METHODS, _K = ("multi-rlvr", "multi-rlcr"), 3


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The tokens that every arm may spend on a question."""

    label: str
    """The arm whose completion sets the budget."""
    tokens: float
    """Mean tokens of one of its completions, over its seeds."""

    @property
    def words(self) -> str:
        """The budget as a sentence."""
        return f"{METRIC}: for {self.tokens:.1f} tokens a question, the mean of {self.label}."


def find_budget(arms: Sequence[ArmData]) -> TokenBudget | None:
    """The budget that the arms are compared at; None without a multi-answer arm of K = 3 that counts its tokens."""
    sets = [data for data in arms if data.k == _K and not data.view.get("pooled")]
    for data in (data for method in _METHODS for data in sets if data.arm.method == method):
        if (tokens := data.cell("tokens_per_completion").value) > 0:
            return TokenBudget(data.arm.label, tokens)
    return None


def with_equal_tokens(arms: Sequence[ArmData], budget: TokenBudget | None) -> list[ArmData]:
    """The arms with the metric ``coverage_at_equal_tokens`` and a remark on it; as they are without a budget."""
    return list(arms) if budget is None else [_with_metric(data, budget) for data in arms]


def completions_for(budget: TokenBudget | None, data: ArmData) -> float:
    """m, by the arm's mean length of a completion over its seeds; NaN when that is unknown, or the budget is None."""
    tokens = data.cell("tokens_per_completion").value
    return budget.tokens / tokens if budget is not None and tokens > 0 else math.nan


def coverage_of(points: Sequence[Mapping[str, Any]], answers: int, m: float) -> Estimate:
    """U(m) with its interval, from points at whole numbers of completions of ``answers`` answers.

    Raises:
        LookupError: the curve has no points around ``m``; the message says why.
    """
    if math.isnan(m):
        raise LookupError("completions without token counts")
    if m < 1:
        raise LookupError(f"the budget pays for {m:.2f} of a completion")
    by_m = {number(point.get("answers")) / answers: point for point in points}
    below, above, share = by_m.get(math.floor(m)), by_m.get(math.ceil(m)), m - math.floor(m)
    if below is None or above is None:
        raise LookupError(f"the budget pays for {m:.1f} completions, and the curve ends at {max(by_m, default=0):g}")
    ends = [
        (1 - share) * number(below.get(name)) + share * number(above.get(name)) for name in ("value", "low", "high")
    ]
    return Estimate(*ends, n=int(above.get("questions") or 0))


def _with_metric(data: ArmData, budget: TokenBudget) -> ArmData:
    m = completions_for(budget, data)
    answers = 1 if data.view.get("pooled") else data.k or 1
    try:
        cell = combine(
            [coverage_of(curves.get("unique_references") or (), answers, m) for curves in data.curves], (0.0, math.inf)
        )
        remark = f"U({m:.2f}), for {budget.tokens:.1f} tokens"
    except LookupError as exc:
        cell, remark = Cell(), f"undefined: {exc.args[0]}"
    return replace(data, metrics={**data.metrics, METRIC: cell}, remarks={**data.remarks, METRIC: remark})
