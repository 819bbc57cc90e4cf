"""Paired differences between columns, seed by seed.

Like seeds make a pair, or where no seed is alike every seed of the one with every seed of the other. A pair gives the
difference with a bootstrap over the questions both hold; pairs are averaged, value and interval ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from polymode.compare.columns import DEEP_METRICS, Column, Run
from polymode.compare.evaluations import Evaluations
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation, compare
from polymode.evaluation.curves import CURVE
from polymode.report.arms import combine
from polymode.report.differences import Difference
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.uncertainty import Estimate, Statistic, SumStatistic


def differences_of(
    column: Column, against: Column, evaluations: Evaluations, completions: tuple[float, float], *, n_boot: int
) -> dict[str, Difference]:
    """``column - against`` for every metric both have.

    Args:
        column: the one.
        against: the one that is taken away.
        evaluations: reads their folders.
        completions: how many completions of each the token budget pays for, as in `completions_for`.
        n_boot: bootstrap replicates.

    Raises:
        ConfigError: they share no question.
    """
    found: dict[str, list[Estimate]] = {}
    for a, b in pairs_of(column.runs, against.runs):
        sides = evaluations.of(a), evaluations.of(b)
        if not _share(*sides):
            raise ConfigError(
                f"{column.name} and {against.name} share no question: compare runs over the same questions, or name "
                "another --against"
            )
        entries = _pair(sides, (evaluations.deep(a), evaluations.deep(b)), completions, n_boot)
        for name, entry in entries.items():
            found.setdefault(name, []).append(entry)
    out = {}
    for name, entries in found.items():
        cell = combine(entries)
        out[name] = Difference(replace(cell, n=min(entry.n for entry in entries)), len(cell.by_seed))
    return out


def pairs_of(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Like seeds, or where none are alike every seed with every seed."""
    like = [(a, b) for a in first for b in second if a.seed == b.seed]
    return like or [(a, b) for a in first for b in second]


def _pair(
    sides: tuple[Evaluation, Evaluation],
    deep: tuple[Evaluation | None, Evaluation | None],
    completions: tuple[float, float],
    n_boot: int,
) -> dict[str, Estimate]:
    """Differences of one pair; what needs 30 answers a question comes from the deep evaluations where both have one."""
    found = compare(*sides, n_boot=n_boot)
    names, drawn = [EQUAL_TOKENS], sides
    if deep[0] is not None and deep[1] is not None and _share(deep[0], deep[1]):
        names, drawn = [EQUAL_TOKENS, *DEEP_METRICS], (deep[0], deep[1])
    first, second = (_only(_with_equal_tokens(side, m), names) for side, m in zip(drawn, completions, strict=True))
    found |= compare(first, second, n_boot=n_boot)
    return {name: e for name, e in found.items() if not name.startswith(CURVE)}


def _share(first: Evaluation, second: Evaluation) -> bool:
    return not set(first.question_ids).isdisjoint(second.question_ids)


def _only(evaluation: Evaluation, names: Sequence[str]) -> Evaluation:
    kept = {name: statistic for name, statistic in evaluation.statistics.items() if name in names}
    return replace(evaluation, statistics=kept)


def _with_equal_tokens(evaluation: Evaluation, m: float) -> Evaluation:
    """The evaluation with U(m) as one more statistic, where its curve reaches that far."""
    answers = 1 if evaluation.view["pooled"] else evaluation.view["k"]
    if not m >= 1:
        return evaluation
    low, high = (evaluation.statistics.get(f"{CURVE}{n * answers}") for n in (math.floor(m), math.ceil(m)))
    if not (isinstance(low, SumStatistic) and isinstance(high, SumStatistic)):
        return evaluation
    return replace(evaluation, statistics={**evaluation.statistics, EQUAL_TOKENS: _between(low, high, m % 1)})


def _between(low: SumStatistic, high: SumStatistic, share: float) -> Statistic:
    """Mean over questions of ``(1 - share) low + share high``, for the questions that have both."""
    has = high.sums[1]  # fewer or the same: a question with m + 1 completions has m
    return SumStatistic(((1 - share) * low.sums[0] * has + share * high.sums[0], has), high.finish, high.n)
