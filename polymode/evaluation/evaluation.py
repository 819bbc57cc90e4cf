"""Completions to judged completions, metrics with intervals, curves and files (layer L4)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polymode import runs
from polymode.errors import ConfigError, RecordError
from polymode.evaluation.columns import STATUSES, ColumnStore, columns_of
from polymode.evaluation.curves import POINTS
from polymode.evaluation.judging import check_confidences, is_ranked, judge_completions, pool_of
from polymode.evaluation.losses import Losses
from polymode.evaluation.reduction import measured_at_once, reduce_columns
from polymode.evaluation.stored import read_columns
from polymode.metrics.own import METRICS
from polymode.progress import progress_bar
from polymode.rewards import Reward
from polymode.runs import JudgedCompletion
from polymode.types import Completion
from polymode.uncertainty import N_BOOT, Estimate, Statistic, paired_differences, restrict
from polymode.verifiers import QuestionVerifier, Verifier


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of a set of completions; `write` puts them into a run folder and `read` takes them out again."""

    view: Mapping[str, Any]
    """What was evaluated, and how: k, pooled, confidence_from, verifier, has_confidence, counts, statuses."""
    metrics: Mapping[str, Estimate]
    """By name; docs/metrics.md holds the formulas."""
    curves: Mapping[str, list[dict[str, Any]]]
    """Points of the report's figures, by name."""
    source: Callable[[], Iterable[JudgedCompletion]] = field(repr=False)
    """Where the judged completions are: in memory, or in a file."""
    columns: ColumnStore = field(repr=False)
    """What the metrics are computed from."""
    own_metrics: tuple[str, ...] = field(default=(), repr=False)
    """Names of further metrics."""
    losses: Losses = field(default_factory=Losses, repr=False)
    """Departures from the format, and faults."""

    @cached_property
    def judged(self) -> tuple[JudgedCompletion, ...]:
        """Every completion, in the order question, sample; read when asked for, where they stand in a file."""
        return tuple(self.source())

    @property
    def question_ids(self) -> Sequence[str]:
        """Questions in the order of the statistics."""
        return self.columns.ids

    @cached_property
    def statistics(self) -> Mapping[str, Statistic]:
        """The metrics as functions of all questions, for `compare`; ``unique_references@m`` are those of a curve."""
        return measured_at_once(self.columns, self.view, self.own_metrics)

    def with_statistics(self, statistics: Mapping[str, Statistic]) -> Evaluation:
        """The same evaluation with other statistics."""
        other = replace(self)
        vars(other)["statistics"] = statistics
        return other

    @classmethod
    def read(cls, folder: Path | str, *, metrics: Sequence[str] = ()) -> Evaluation:
        """What `evaluate` returned before it was written into ``folder``.

        Statistics are computed from the stored verdicts; no verifier is started. A folder made by polymode 0.1.0 needs
        its completions.jsonl too, and has no counts of distinct programs. The statistics of one's own metrics are those
        of ``metrics``, because no file gets a function called that it names.

        Raises:
            RunIncompleteError: metrics.json or judged.jsonl is missing.
            RecordError: one of them is damaged, or of a newer schema; names file, line and field.
        """
        folder = Path(folder)
        stored = runs.read_metrics(folder)
        for name in ("k", "pooled"):
            if name not in stored.view:
                raise RecordError(f"{folder / runs.METRICS}: view.{name} is missing: evaluate again")
        votes = stored.view.get("confidence_from") == "votes"
        columns, source = read_columns(folder, pool_of(stored.view), votes=votes)
        return cls(stored.view, stored.metrics, stored.curves, source, columns, tuple(metrics))

    def write(self, folder: Path | str, *, completions: Path | str | None = None) -> None:
        """Write ``judged.jsonl`` and ``metrics.json`` into ``folder``, each whole or not at all.

        Args:
            folder: where to.
            completions: file that was judged, or its folder, to be found from here; ``completions.jsonl`` in
                ``folder`` where there is one.

        Raises:
            WriteError: a file cannot be written.
        """
        folder = Path(folder)
        rows = progress_bar(self.judged, desc="writing judged.jsonl", unit=" completions")
        runs.remove_metrics(folder)  # of earlier verdicts
        runs.write_judged(folder / runs.JUDGED, rows)
        self.write_metrics(folder, completions=completions)

    def write_metrics(
        self,
        folder: Path | str,
        *,
        completions: Path | str | None = None,
        groups: Mapping[str, Evaluation] | None = None,
    ) -> None:
        """Write ``metrics.json`` alone, with those of ``groups`` (`evaluate_groups`); otherwise as `write`."""
        folder = Path(folder)
        source = runs.file_in(folder if completions is None else completions, runs.COMPLETIONS)
        parts = {label: replace(part.stored(), curves={}) for label, part in (groups or {}).items()}
        stored = replace(self.stored(), groups=parts)
        if source.is_file():
            stored = replace(
                stored, completions=runs.CompletionsFile(os.path.relpath(source, folder), runs.fingerprint(source))
            )
        stored.write(folder)

    def stored(self) -> runs.Metrics:
        """The content of ``metrics.json``."""
        return runs.Metrics(view=self.view, metrics=self.metrics, curves=self.curves)

    def table(self, titled: Callable[[Sequence[str]], list[tuple[str, list[str]]]] | None = None) -> str:
        """Defined metrics as text: name, value, 95% interval, n.

        Args:
            titled: puts names under titles, as `polymode.report.words.group_metrics` does; None means one plain list.
        """
        rows = {
            name: (name, f"{e.value:.4f}", f"[{e.low:.4f}, {e.high:.4f}]" if e.low == e.low else e.reason)
            for name, e in self.metrics.items()
            if e.n and e.value == e.value
        }
        a, b, c = (max((len(row[i]) for row in rows.values()), default=0) for i in range(3))
        lines = [_summary(self.view)]
        for title, names in [("", list(rows))] if titled is None else titled(list(rows)):
            lines += ["", title] if title else []
            for name, value, interval in (rows[one] for one in names):
                lines.append(f"{name:<{a}}  {value:>{b}}  {interval:<{c}}  n = {self.metrics[name].n:,}")
        refused = [f"{name}: {e.reason}" for name, e in self.metrics.items() if e.value != e.value and e.reason]
        return "\n".join([*lines, *(["", "Not measured"] if titled and refused else []), *refused])


def evaluate(
    completions: Iterable[Completion],
    *,
    verifier: Verifier | QuestionVerifier | None = None,
    reward: Reward | None = None,
    k: int | None = None,
    pooled: bool = False,
    pool: int = 1,
    confidence_from: Literal["stated", "votes"] = "stated",
    metrics: Sequence[str] = (),
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> Evaluation:
    """Parse, judge, score and measure completions. Nothing is generated.

    Args:
        completions: completions of any number of questions, in any order; samples of a question share its id.
        verifier: equality of answers; `TextVerifier` when None.
        reward: fills ``score`` and ``terms`` of the judged completions; the `paper` preset when None.
        k: answers in one pooled set; needed when pooled, ignored otherwise.
        pooled: put the answers of k independent single-answer completions of a question together as one set (disjoint
            pools in sample order; a rest of fewer than k is left out). Calibration of single answers is still that of
            the single completions.
        pool: make one ranked set of K answers of so many completions of a question, as service does (`pool_sets`;
            disjoint pools in sample order, a rest of fewer is left out). Calibration is that of the pooled answers.
        confidence_from: confidence of a distinct answer of a pooled set: the mean ``stated`` by the completions that
            gave it, or its share of ``votes`` (then calibration is that of the distinct pooled answers).
        metrics: further metrics, as ``module:Name`` or the name of an entry point (`polymode.metrics.own`).
        n_boot: bootstrap replicates.
        seed: of the bootstrap.

    Raises:
        ConfigError: no completions; pooled without a k, or with multi-answer completions; several K, or no confidence
            at all, in a pool; too few samples for one; votes without pooled; one id for two questions; a metric that
            cannot be used.
    """
    check_measures(metrics, n_boot)
    judged, how = judge_completions(
        completions, verifier=verifier, reward=reward, k=k, pooled=pooled, pool=pool, confidence_from=confidence_from
    )
    columns = ColumnStore.of([columns_of(judged, pool_of(how), votes=confidence_from == "votes")])
    check_confidences(columns, how)
    measured = measure(columns, how, source=lambda: judged, metrics=metrics, n_boot=n_boot, seed=seed)
    return replace(measured, losses=Losses.of(judged))


def check_measures(metrics: Sequence[str], n_boot: int) -> None:
    """Refuse metrics that there are not, and a number of replicates that is none, before anything is judged."""
    for name in metrics:
        METRICS.load(name)
    if isinstance(n_boot, bool) or not isinstance(n_boot, int) or n_boot < 0:
        raise ConfigError(f"n_boot = {n_boot!r} is not allowed: give a whole number from 0 (0: no intervals)")


def measure(
    columns: ColumnStore,
    how: Mapping[str, Any],
    *,
    source: Callable[[], Iterable[JudgedCompletion]],
    metrics: Sequence[str] = (),
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> Evaluation:
    """Metrics of judged completions, or of the questions of a part; nothing is judged.

    Undefined metrics are NaN, with n = 0: all of them where nothing could be scored.
    """
    n_questions, n_unscored = columns.n_questions, int(columns.array("unscored_P_2")[:, 0].sum())
    with progress_bar(total=n_boot, desc="intervals", unit=" resamples") as bar:
        reduction = reduce_columns(
            columns,
            how,
            metrics,
            rng=np.random.default_rng(seed),
            n_boot=n_boot,
            n_unscored=n_unscored,
            advance=bar.update,
        )
    estimates, n_different = reduction.estimates, reduction.n_different
    statuses = columns.array("statuses_P_4").sum(axis=0, dtype=np.int64).tolist()
    counts: dict[str, int] = {}
    if is_ranked(how):
        n_pools = reduction.n_sets + int(columns.array("unscored_P_2")[:, 1].sum())
        counts["n_empty_sets"] = reduction.n_empty_sets
        counts["n_left_out"] = sum(statuses) - how["pool"] * n_pools
    return Evaluation(
        view={
            **how,
            "has_confidence": bool(columns.array("states_P").any() or reduction.has_confidences),
            "n_questions": n_questions,
            **({"n_different_questions": n_different} if n_different < n_questions else {}),
            "n_completions": sum(statuses),
            "n_sets": reduction.n_sets,
            "n_unscored": n_unscored,
            **{name: count for name, count in counts.items() if count},
            "statuses": dict(zip(STATUSES, statuses, strict=True)),
        },
        metrics={name: estimate for name, estimate in estimates.items() if not name.startswith(POINTS)},
        curves=reduction.curves,
        source=source,
        columns=columns,
        own_metrics=tuple(metrics),
    )


def compare(first: Evaluation, second: Evaluation, *, n_boot: int = N_BOOT, seed: int = 0) -> dict[str, Estimate]:
    """``first - second`` for every metric and every U(m) both have, paired on the questions both hold.

    n counts those questions.

    Raises:
        ConfigError: the two share no question id.
    """
    place = {id_: i for i, id_ in enumerate(second.question_ids)}
    shared = [(i, place[id_]) for i, id_ in enumerate(first.question_ids) if id_ in place]
    if not shared:
        raise ConfigError("the two evaluations share no question id: compare runs over the same questions")
    a, b = (np.array(index) for index in zip(*shared, strict=True))
    pairs = {
        name: (
            restrict(first.statistics[name], a, len(first.question_ids)),
            restrict(second.statistics[name], b, len(second.question_ids)),
        )
        for name in first.statistics
        if name in second.statistics
    }
    repeats_P = first.columns.repeats_P[a]
    rng = np.random.default_rng(seed)
    return paired_differences(pairs, len(shared), rng=rng, n_boot=n_boot, repeats_P=repeats_P)


def _summary(view: Mapping[str, Any]) -> str:
    k = view["k"] if view.get("least_k") is None else f"{view['least_k']} to {view['k']}"
    kind = f"pools of {k} single answers" if view["pooled"] else f"sets of {k}"
    if is_ranked(view):
        empty, rest = (view.get(name) or 0 for name in ("n_empty_sets", "n_left_out"))
        kind += f", each pooled from {view['pool']} completions"
        kind += f" ({empty:,} of them without any that can be used)" if empty else ""
        kind += f" ({rest:,} completions left out, fewer than {view['pool']} of a question)" if rest else ""
    bad = ", ".join(f"{n:,} {status}" for status, n in view["statuses"].items() if n and status != "clean")
    n_different = view.get("n_different_questions")
    different = f" ({n_different:,} different ones)" if n_different else ""
    unscored = f", {view['n_unscored']:,} unscored" if view["n_unscored"] else ""
    return (
        f"{view['n_sets']:,} {kind}, {view['n_questions']:,} questions{different}, "
        f"{view['n_completions']:,} completions" + (f" ({bad})" if bad else "") + unscored
    )
