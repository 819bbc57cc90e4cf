"""Paired differences between columns, seed by seed.

Like seeds make a pair, or where no seed is alike every seed of the one with every seed of the other. A pair gives the
difference with a bootstrap over the questions both hold. The mean over the pairs has an interval that includes seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import DEEP_METRICS, Column, Run, deep_folder, with_deep
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation, compare, evaluate
from polymode.evaluation.curves import CURVE, POINTS
from polymode.report.arms import combine
from polymode.report.differences import Difference
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.uncertainty import N_BOOT, Estimate, SeedVariance, Statistic, SumStatistic
from polymode.verifiers import QuestionVerifier, Verifier


@dataclass
class Evaluations:
    """The evaluations that differences are computed from: each folder is read once, without its judged completions."""

    verifier: Verifier | QuestionVerifier | None = None
    """Judges all completions again; None takes the verdicts that are stored."""
    own_metrics: Sequence[str] = ()
    """Own metrics that differences are computed of."""
    n_boot: int = N_BOOT
    """Bootstrap replicates of metrics that are judged again."""
    advance: Callable[[], object] = lambda: None
    """Called after each folder."""
    _by_folder: dict[Path, Evaluation] = field(default_factory=dict)

    def of(self, run: Run, folder: Path | None = None) -> Evaluation:
        """The evaluation of ``run``, or of its deep ``folder``; raises as `Evaluation.read`."""
        folder = folder or run.folder
        key = folder.resolve()
        if key not in self._by_folder:
            if self.verifier is None:
                evaluation = Evaluation.read(folder, metrics=self.own_metrics)
            else:
                evaluation = self._judged_again(run, folder)
            self._by_folder[key] = replace(evaluation, source=tuple)  # answers are most of its memory
            self.advance()
        return self._by_folder[key]

    def deep(self, run: Run) -> Evaluation | None:
        """The deep folder of ``run``, or of the samples that it measures; None without one."""
        folder = deep_folder(run)
        return None if folder is None else self.of(replace(run, confidence="stated"), folder)

    def metrics(self, run: Run) -> runs.Metrics:
        """What tables show of ``run``: its metrics.json, or what the user's verifier says."""
        if self.verifier is None:
            return runs.read_metrics(run.folder)
        stored, deep = self.of(run).stored(), self.deep(run)
        return stored if deep is None else with_deep(stored, deep.stored())

    def _judged_again(self, run: Run, folder: Path) -> Evaluation:
        is_pooled = run.is_joined
        path = runs.completions_of(folder)
        says_k = next(runs.read_jsonl(path), {}).get("k") is not None
        k = None if says_k else 1 if is_pooled else run.view.get("k")
        return evaluate(
            runs.read_completions(path, k=k, verifier=self.verifier),
            verifier=self.verifier,
            pooled=is_pooled,
            k=run.pool if is_pooled else None,
            pool=1 if is_pooled else run.pool,
            confidence_from="votes" if run.confidence == "votes" else "stated",
            metrics=self.own_metrics,
            n_boot=self.n_boot,
        )


def differences_of(
    column: Column, against: Column, evaluations: Evaluations, completions: tuple[float, float], *, n_boot: int
) -> dict[str, Difference]:
    """``column - against`` for every metric both have.

    Args:
        column: the one.
        against: the baseline.
        evaluations: reads their folders.
        completions: how many completions of each the token budget pays for, as in `completions_for`.
        n_boot: bootstrap replicates.

    Raises:
        ConfigError: they share no question.
    """
    estimates: dict[str, list[tuple[Run, Run, Estimate]]] = {}
    for a, b in pairs_of(column.runs, against.runs):
        sides = evaluations.of(a), evaluations.of(b)
        if not _share(*sides):
            raise ConfigError(
                f"{column.name} and {against.name} share no question: compare runs over the same questions, or name "
                "another --against"
            )
        pair = _pair(sides, (evaluations.deep(a), evaluations.deep(b)), completions, n_boot)
        for name, estimate in pair.items():
            estimates.setdefault(name, []).append((a, b, estimate))
    return {name: _mean_difference(own) for name, own in estimates.items()}


def _mean_difference(pairs: Sequence[tuple[Run, Run, Estimate]]) -> Difference:
    """Mean over the pairs; n: questions of a pair. Pairs of every seed with every seed vary as both sides' means do."""
    defined = [pair for pair in pairs if math.isfinite(pair[2].value)]
    variances = None
    if any(a.seed != b.seed for a, b, _ in defined):
        variances = []
        for side in zip(*((a, b) for a, b, _ in defined), strict=True):
            by_run: dict[Path, list[float]] = {}
            for run, (*_, estimate) in zip(side, defined, strict=True):
                by_run.setdefault(run.folder, []).append(estimate.value)
            variances.append(SeedVariance.of([sum(own) / len(own) for own in by_run.values()]))
    cell = combine([estimate for *_, estimate in pairs], variances=variances)
    return Difference(replace(cell, n=min(estimate.n for *_, estimate in pairs)), len(cell.by_seed))


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
    differences = compare(*sides, n_boot=n_boot)
    names, used = [EQUAL_TOKENS], sides
    if deep[0] is not None and deep[1] is not None and _share(deep[0], deep[1]):
        names, used = [EQUAL_TOKENS, *DEEP_METRICS], (deep[0], deep[1])
    first, second = (_only(_with_equal_tokens(side, m), names) for side, m in zip(used, completions, strict=True))
    differences |= compare(first, second, n_boot=n_boot)
    return {name: estimate for name, estimate in differences.items() if not name.startswith(POINTS)}


def _share(first: Evaluation, second: Evaluation) -> bool:
    return not set(first.question_ids).isdisjoint(second.question_ids)


def _only(evaluation: Evaluation, names: Sequence[str]) -> Evaluation:
    statistics = {name: statistic for name, statistic in evaluation.statistics.items() if name in names}
    return evaluation.with_statistics(statistics)


def _with_equal_tokens(evaluation: Evaluation, m: float) -> Evaluation:
    """The evaluation with U(m) as one more statistic, where its curve reaches that far."""
    answers = 1 if evaluation.view["pooled"] else evaluation.view["k"]
    if not m >= 1:
        return evaluation
    low, high = (evaluation.statistics.get(f"{CURVE}{n * answers}") for n in (math.floor(m), math.ceil(m)))
    if not (isinstance(low, SumStatistic) and isinstance(high, SumStatistic)):
        return evaluation
    return evaluation.with_statistics({**evaluation.statistics, EQUAL_TOKENS: _between(low, high, m % 1)})


def _between(low: SumStatistic, high: SumStatistic, share: float) -> Statistic:
    """Mean over questions of ``(1 - share) low + share high``, for the questions that have both."""
    has = high.sums[1]  # fewer or the same: a question with m + 1 completions has m
    sums = ((1 - share) * low.sums[0] * has + share * high.sums[0], has)
    return SumStatistic(sums, high.finish, high.n, limits=(0.0, math.inf))
