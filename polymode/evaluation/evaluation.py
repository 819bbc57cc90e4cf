"""Completions to judged completions, metrics with intervals, curves and files (layer L4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from polymode import runs
from polymode.errors import ConfigError
from polymode.evaluation.curves import curves_of
from polymode.evaluation.judged import CompletionJudge
from polymode.evaluation.older import completed
from polymode.evaluation.overlaps import overlaps_of, with_overlaps
from polymode.evaluation.sets import Tables, pools_of, tables_of
from polymode.metrics.own import own_statistics
from polymode.metrics.statistics import of_unique_references, statistics
from polymode.prompts import check_k
from polymode.rewards import Reward
from polymode.runs import JudgedCompletion
from polymode.types import Completion, Example, ParseStatus
from polymode.uncertainty import N_BOOT, Estimate, Statistic, bootstrap, paired_differences, restrict
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier
from polymode.verifiers.text import TextVerifier

_SHOW_AFTER = 2.0  # seconds before a progress bar appears


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of a set of completions; `write` puts them into a run folder and `read` takes them out again."""

    view: Mapping[str, Any]
    """What was evaluated, and how: k, pooled, confidence_from, verifier, has_confidence, counts, statuses."""
    metrics: Mapping[str, Estimate]
    """By name; docs/metrics.md holds the formulas."""
    curves: Mapping[str, list[dict[str, Any]]]
    """Points of the report's figures, by name."""
    judged: tuple[JudgedCompletion, ...] = field(repr=False)
    """Every completion, in the order question, sample."""
    question_ids: tuple[str, ...] = field(repr=False)
    """Questions in the order of the statistics."""
    statistics: Mapping[str, Statistic] = field(repr=False)
    """What the metrics are computed from, for `compare`; ``unique_references@m`` are the points of that curve."""

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
        lines = runs.judged_lines(folder / runs.JUDGED)
        rows = tqdm(lines, desc="reading judged.jsonl", unit=" completions", delay=_SHOW_AFTER, leave=False)
        judged = _ordered([line.judged for line in rows])
        if any(one.schema == 0 for one in judged):
            judged = completed(judged, folder, stored.pool if stored.view.get("pooled") else 0)
        questions = _numbered(one.id for one in judged)
        tables = _tables(judged, questions, stored.view)
        return cls(
            view=stored.view,
            metrics=stored.metrics,
            curves=stored.curves,
            judged=tuple(judged),
            question_ids=tuple(questions),
            statistics=_by_text(_statistics(tables, overlaps_of(judged, questions), metrics)),
        )

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
        source = runs.completions_path(folder if completions is None else completions)
        rows = tqdm(self.judged, desc="writing judged.jsonl", unit=" completions", delay=_SHOW_AFTER, leave=False)
        runs.write_judged(folder / runs.JUDGED, rows)
        stored = self.stored()
        if source.is_file():
            stored = replace(stored, completions=runs.CompletionsFile.of(source, folder))
        stored.write(folder)

    def stored(self) -> runs.Metrics:
        """The content of ``metrics.json``."""
        return runs.Metrics(view=self.view, metrics=self.metrics, curves=self.curves)

    def table(self) -> str:
        """Defined metrics as text: name, value, 95% interval, n."""
        rows = [
            (name, f"{e.value:.4f}", f"[{e.low:.4f}, {e.high:.4f}]" if e.low == e.low else "", f"n = {e.n:,}")
            for name, e in self.metrics.items()
            if e.n and e.value == e.value
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d}" for a, b, c, d in rows]
        return "\n".join([_summary(self.view), *lines])


def evaluate(
    completions: Iterable[Completion],
    *,
    verifier: Verifier | QuestionVerifier | None = None,
    reward: Reward | None = None,
    k: int | None = None,
    pooled: bool = False,
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
        confidence_from: confidence of a distinct answer of a pooled set: the mean ``stated`` by the completions that
            gave it, or its share of ``votes`` (then calibration is that of the distinct pooled answers).
        metrics: further metrics, as ``module:Name`` or the name of an entry point (`polymode.metrics.own`).
        n_boot: bootstrap replicates.
        seed: of the bootstrap.

    Raises:
        ConfigError: no completions; pooled without a k or enough samples, or with multi-answer completions; votes
            without pooled; one id for two questions; a metric that cannot be used.
    """
    in_order = _in_order(completions)
    _check_options(in_order, k, pooled, confidence_from, n_boot)
    judge = CompletionJudge(verifier if verifier is not None else TextVerifier(), reward)
    examples = _examples(in_order)
    judge.prepare(in_order)
    bar = tqdm(in_order, desc="judging", unit=" completions", delay=_SHOW_AFTER, leave=False)
    judged = [judge.judged(completion) for completion in bar]
    judged = with_overlaps(judged, in_order)
    if pooled:
        assert k is not None
        judged = _with_pools(judged, examples, judge, k)
    questions = _numbered(examples)
    view = {
        "k": k if pooled else max(c.k for c in in_order),
        "pooled": pooled,
        "confidence_from": confidence_from,
        "verifier": describe_verifier(judge.verifier),
    }
    tables = _tables(judged, questions, view)
    everything = _statistics(tables, overlaps_of(judged, questions), metrics)
    n_unscored = tables.completions.n_unscored
    with tqdm(total=n_boot, desc="intervals", unit=" resamples", delay=_SHOW_AFTER, leave=False) as bar:
        estimates = bootstrap(
            everything,
            len(questions),
            rng=np.random.default_rng(seed),
            n_boot=n_boot,
            n_unscored=n_unscored,
            advance=bar.update,
        )
    statuses = Counter(one.status for one in judged)
    return Evaluation(
        view={
            **view,
            "has_confidence": bool((~np.isnan(tables.answers.q)).any()),
            "n_questions": len(questions),
            "n_completions": len(judged),
            "n_sets": tables.sets.n_sets,
            "n_unscored": n_unscored,
            "statuses": {status.value: statuses[status.value] for status in ParseStatus},
        },
        metrics={name: e for name, e in estimates.items() if isinstance(name, str)},
        curves=curves_of(*tables, estimates),
        judged=tuple(judged),
        question_ids=tuple(questions),
        statistics=_by_text(everything),
    )


def evaluate_folder(folder: Path | str, **options: Any) -> Evaluation:
    """`evaluate` the ``completions.jsonl`` of a run folder and write the results beside it; options as there."""
    folder = Path(folder)
    evaluation = evaluate(runs.read_completions(folder / runs.COMPLETIONS), **options)
    evaluation.write(folder)
    return evaluation


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
    return paired_differences(pairs, len(shared), rng=np.random.default_rng(seed), n_boot=n_boot)


def _in_order(completions: Iterable[Completion]) -> list[Completion]:
    """Questions in order of first appearance, samples in order."""
    given = list(completions)
    place = _numbered(completion.example.id for completion in given)
    return sorted(given, key=lambda c: (place[c.example.id], c.sample))


def _ordered(judged: list[JudgedCompletion]) -> list[JudgedCompletion]:
    place = _numbered(one.id for one in judged)
    return sorted(judged, key=lambda one: (place[one.id], one.sample))


def _numbered(ids: Iterable[str]) -> dict[str, int]:
    """Number of each question by id, in order of first appearance."""
    return {id_: number for number, id_ in enumerate(dict.fromkeys(ids))}


def _examples(completions: list[Completion]) -> dict[str, Example]:
    examples: dict[str, Example] = {}
    for completion in completions:
        example = completion.example
        first = examples.setdefault(example.id, example)
        if first is not example and first != example:
            raise ConfigError(f"id {example.id!r} stands for two different questions: give each question its own id")
    return examples


def _with_pools(
    judged: list[JudgedCompletion], examples: Mapping[str, Example], judge: CompletionJudge, k: int
) -> list[JudgedCompletion]:
    """The judged completions, the first of each pool of ``k`` with the pooled set."""
    pools = {
        (members[0].id, members[0].sample): judge.pooled(
            examples[members[0].id], [text for one in members for text in one.answers], k
        )
        for members in pools_of(judged, k)
    }
    if not pools:
        raise ConfigError(f"k = {k} is too large for pooled sets: no question has {k} samples; generate more samples")
    return [replace(one, pool=pools[one.id, one.sample]) if (one.id, one.sample) in pools else one for one in judged]


def _tables(judged: Sequence[JudgedCompletion], questions: Mapping[str, int], view: Mapping[str, Any]) -> Tables:
    pool = int(view.get("k") or 1) if view.get("pooled") else 0
    return tables_of(judged, questions, pool, votes=view.get("confidence_from") == "votes")


def _statistics(tables: Tables, overlaps: np.ndarray, metrics: Sequence[str]) -> dict[str | tuple[str, int], Statistic]:
    built_in = statistics(*tables, overlaps)
    own = own_statistics(metrics, tables.sets, built_in)
    curve = of_unique_references(tables.completions)
    return {**built_in, **own, **{("unique_references", m): statistic for m, statistic in curve.items()}}


def _by_text(everything: Mapping[str | tuple[str, int], Statistic]) -> dict[str, Statistic]:
    return {name if isinstance(name, str) else "@".join(map(str, name)): one for name, one in everything.items()}


def _check_options(
    completions: list[Completion], k: int | None, pooled: bool, confidence_from: str, n_boot: int
) -> None:
    if not completions:
        raise ConfigError("completions is empty: give at least one completion")
    if confidence_from not in ("stated", "votes"):
        raise ConfigError(f"confidence_from = {confidence_from!r} is not known: use 'stated' or 'votes'")
    if isinstance(n_boot, bool) or not isinstance(n_boot, int) or n_boot < 0:
        raise ConfigError(f"n_boot = {n_boot!r} is not allowed: give a whole number from 0 (0: no intervals)")
    if confidence_from == "votes" and not pooled:
        raise ConfigError("confidence_from = 'votes' counts answers of pooled sets: pass pooled=True and k")
    if not pooled:
        return
    if k is None:
        raise ConfigError("k is missing: pooled=True needs the number of completions that make one set")
    check_k(k)
    several = next((c for c in completions if c.k != 1), None)
    if several is not None:
        raise ConfigError(
            f"pooled = True needs single-answer completions, but id {several.example.id!r} asks for k = {several.k}: "
            "leave pooled out for multi-answer completions"
        )


def _summary(view: Mapping[str, Any]) -> str:
    kind = f"pools of {view['k']} single answers" if view["pooled"] else f"sets of {view['k']}"
    bad = ", ".join(f"{n:,} {status}" for status, n in view["statuses"].items() if n and status != "clean")
    unscored = f", {view['n_unscored']:,} unscored" if view["n_unscored"] else ""
    return (
        f"{view['n_sets']:,} {kind}, {view['n_questions']:,} questions, {view['n_completions']:,} completions"
        + (f" ({bad})" if bad else "")
        + unscored
    )
