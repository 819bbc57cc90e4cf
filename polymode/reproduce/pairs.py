"""Paired differences between columns, seed by seed.

Like seeds make a pair, or where no seed is alike every seed of the one with every seed of the other. A pair gives the
difference with a bootstrap over the questions both hold; pairs are averaged, value and interval ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from polymode.errors import ConfigError
from polymode.evaluate import Evaluation, compare
from polymode.report.arms import combine
from polymode.report.differences import Difference
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.report.equal_tokens import TokenBudget, completions_for
from polymode.reproduce.arms import DEEP_METRICS
from polymode.reproduce.columns import Column, Run
from polymode.reproduce.judges import Judges
from polymode.uncertainty import Statistic, SumStatistic


def differences_of(
    column: Column, against: Column, judges: Judges, budget: TokenBudget | None, *, n_boot: int
) -> dict[str, Difference]:
    """``column - against`` for every metric both have.

    Raises:
        ConfigError: they share no question.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    pairs = pairs_of(column.runs, against.runs)
    for a, b in pairs:
        for name, entry in _pair(a, b, column, against, judges, budget, n_boot).items():
            found.setdefault(name, []).append(entry)
    out = {}
    for name, entries in found.items():
        cell = combine(entries)
        out[name] = Difference(replace(cell, n=min(int(entry["n"]) for entry in entries)), len(pairs))
    return out


def pairs_of(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Like seeds, or where none are alike every seed with every seed."""
    like = [(a, b) for a in first for b in second if a.seed == b.seed]
    return like or [(a, b) for a in first for b in second]


def _pair(
    a: Run, b: Run, column: Column, against: Column, judges: Judges, budget: TokenBudget | None, n_boot: int
) -> dict[str, Mapping[str, Any]]:
    sides = (judges.evaluation(a), judges.evaluation(b))
    try:
        found = compare(*sides, n_boot=n_boot)
    except ConfigError:
        raise ConfigError(
            f"{column.name} and {against.name} share no question ({a.folder} and {b.folder}): compare runs over the "
            "same questions, or name another --against"
        ) from None
    deep = (judges.deep(a), judges.deep(b))
    labels, tokens = (column.arm.label, against.arm.label), [_tokens(side) for side in sides]
    drawn = [shallow if side is None else side for shallow, side in zip(sides, deep, strict=True)]
    if None not in deep or deep == (None, None):
        enriched = [
            _with_equal_tokens(side, budget, label, n) for side, label, n in zip(drawn, labels, tokens, strict=True)
        ]
        names = {EQUAL_TOKENS, *(() if None in deep else DEEP_METRICS)}
        chosen = [replace(e, statistics={n: s for n, s in e.statistics.items() if n in names}) for e in enriched]
        found |= compare(chosen[0], chosen[1], n_boot=n_boot)
    return {
        name: {"value": e.value, "low": e.low, "high": e.high, "n": e.n}
        for name, e in found.items()
        if not name.startswith("unique_references@")
    }


def _tokens(evaluation: Evaluation) -> float:
    return evaluation.metrics["tokens_per_completion"].value


def _with_equal_tokens(evaluation: Evaluation, budget: TokenBudget | None, label: str, tokens: float) -> Evaluation:
    """The evaluation with U(m) at the budget as one more statistic, where its curve reaches that far."""
    m = math.nan if budget is None else completions_for(budget, label, tokens)
    answers = 1 if evaluation.view["pooled"] else evaluation.view["k"]
    if not m >= 1:
        return evaluation
    ends = [evaluation.statistics.get(f"unique_references@{n * answers}") for n in (math.floor(m), math.ceil(m))]
    low, high = ends
    if not (isinstance(low, SumStatistic) and isinstance(high, SumStatistic)):
        return evaluation
    return replace(evaluation, statistics={**evaluation.statistics, EQUAL_TOKENS: _between(low, high, m % 1)})


def _between(low: SumStatistic, high: SumStatistic, share: float) -> Statistic:
    """Mean over questions of ``(1 - share) low + share high``, for the questions that have both."""
    has = high.sums[1]  # fewer or the same: a question with m + 1 completions has m
    return SumStatistic(((1 - share) * low.sums[0] * has + share * high.sums[0], has), high.finish, high.n)
