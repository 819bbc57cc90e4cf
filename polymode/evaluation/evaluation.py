"""Judged completions to metrics with intervals, curves and files (layer L4)."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from polymode import runs
from polymode.errors import ConfigError
from polymode.evaluation.curves import curves_of
from polymode.evaluation.judged import CompletionJudge, JudgedCompletion
from polymode.evaluation.reading import read_completions
from polymode.evaluation.sets import pooled_rows, single_rows, tabulate
from polymode.metrics import diversity
from polymode.metrics.own import own_statistics
from polymode.metrics.statistics import of_unique_references, statistics
from polymode.metrics.table import Floats, JudgedTable
from polymode.prompts import check_k
from polymode.rewards import Reward
from polymode.types import Completion, Example, ParseStatus
from polymode.uncertainty import N_BOOT, Estimate, Statistic, bootstrap, paired_differences, restrict
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

_SHOW_AFTER = 2.0  # seconds before a progress bar appears


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Judging makes millions of small records and no cycles; the search for cycles would take as long as judging."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of a set of completions; `write` puts them into a run folder."""

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
    """What the metrics were computed from, for `compare`; ``unique_references@m`` are the points of that curve."""

    def write(self, folder: Path | str) -> None:
        """Write ``judged.jsonl`` and ``metrics.json`` into ``folder``, each whole or not at all.

        Raises:
            WriteError: a file cannot be written.
        """
        folder = Path(folder)
        rows = tqdm(self.judged, desc="writing judged.jsonl", unit=" completions", delay=_SHOW_AFTER, leave=False)
        runs.write_jsonl(folder / runs.JUDGED, (judged.to_row() for judged in rows))
        runs.write_json(folder / runs.METRICS, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The content of ``metrics.json``; undefined numbers are NaN here and null in the file."""
        return {
            "view": dict(self.view),
            "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
            "curves": dict(self.curves),
        }

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


@_no_garbage_collection()
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
    ordered = _ordered(completions)
    _check_options(ordered, k, pooled, confidence_from, n_boot)
    judge = CompletionJudge(verifier if verifier is not None else TextVerifier(), reward)
    questions = _questions(ordered)
    votes = confidence_from == "votes"
    judge.prepare(ordered)
    bar = tqdm(ordered, desc="judging", unit=" completions", delay=_SHOW_AFTER, leave=False)
    judged = tuple(judge.judged(completion) for completion in bar)
    singles = tabulate(single_rows(judged, questions), len(questions), judge)
    sets = answers = singles
    if pooled:
        assert k is not None
        rows = pooled_rows(judged, questions, judge, k, votes=votes)
        if not rows:
            raise ConfigError(
                f"k = {k} is too large for pooled sets: no question has {k} samples; generate more samples"
            )
        sets = tabulate(rows, len(questions), judge)
        answers = sets.without_duplicates() if votes else singles
    everything: dict[str | tuple[str, int], Statistic] = {}
    everything |= statistics(sets, singles, answers, _overlaps(ordered, questions))
    everything |= own_statistics(metrics, sets, map(str, everything))
    everything |= {("unique_references", m): s for m, s in of_unique_references(singles).items()}
    with tqdm(total=n_boot, desc="intervals", unit=" resamples", delay=_SHOW_AFTER, leave=False) as bar:
        estimates = bootstrap(
            everything,
            len(questions),
            rng=np.random.default_rng(seed),
            n_boot=n_boot,
            n_unscored=singles.n_unscored,
            advance=bar.update,
        )
    return Evaluation(
        view={
            "k": k if pooled else max(c.k for c in ordered),
            "pooled": pooled,
            "confidence_from": confidence_from,
            "verifier": type(judge.verifier).__name__,
            "own_metrics": list(metrics),
            **_counts(judged, sets, singles, answers),
        },
        metrics={name: e for name, e in estimates.items() if isinstance(name, str)},
        curves=curves_of(sets, singles, answers, estimates),
        judged=judged,
        question_ids=tuple(questions),
        statistics={
            name if isinstance(name, str) else "@".join(map(str, name)): statistic
            for name, statistic in everything.items()
        },
    )


def evaluate_folder(folder: Path | str, **options: Any) -> Evaluation:
    """`evaluate` the ``completions.jsonl`` of a run folder and write the results beside it; options as there."""
    folder = Path(folder)
    evaluation = evaluate(read_completions(folder / runs.COMPLETIONS), **options)
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


def _ordered(completions: Iterable[Completion]) -> list[Completion]:
    """Questions in order of first appearance, samples in order."""
    place: dict[str, int] = {}
    found = list(completions)
    for completion in found:
        place.setdefault(completion.example.id, len(place))
    return sorted(found, key=lambda c: (place[c.example.id], c.sample))


def _questions(completions: list[Completion]) -> dict[str, int]:
    """Number of each question by id."""
    examples: dict[str, Example] = {}
    for completion in completions:
        example = completion.example
        known = examples.setdefault(example.id, example)
        if known is not example and known != example:
            raise ConfigError(f"id {example.id!r} stands for two different questions: give each question its own id")
    return {id_: number for number, id_ in enumerate(examples)}


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


def _overlaps(completions: list[Completion], questions: Mapping[str, int]) -> Floats:
    """Text overlaps of each question (Q, 4); only some questions when there are very many."""
    texts: dict[int, list[str]] = {}
    for completion in completions:
        texts.setdefault(questions[completion.example.id], []).append(completion.text)
    out = np.full((len(questions), len(diversity.OVERLAPS)), np.nan)
    several = [question for question, group in texts.items() if len(group) > 1]
    count = min(len(several), diversity.MAX_OVERLAP_QUESTIONS)
    chosen = [several[i * len(several) // count] for i in range(count)]
    for question in tqdm(chosen, desc="overlap", unit=" questions", delay=_SHOW_AFTER, leave=False):
        out[question] = diversity.text_overlaps(texts[question])
    return out


def _counts(
    judged: tuple[JudgedCompletion, ...], sets: JudgedTable, singles: JudgedTable, answers: JudgedTable
) -> dict[str, Any]:
    statuses = Counter(j.score.answer_set.status for j in judged)
    return {
        "has_confidence": bool((~np.isnan(answers.q)).any()),
        "n_questions": singles.n_questions,
        "n_completions": len(judged),
        "n_sets": sets.n_sets,
        "n_unscored": singles.n_unscored,
        "statuses": {status.value: statuses[status] for status in ParseStatus},
    }


def _summary(view: Mapping[str, Any]) -> str:
    kind = f"pools of {view['k']} single answers" if view["pooled"] else f"sets of {view['k']}"
    bad = ", ".join(f"{n:,} {status}" for status, n in view["statuses"].items() if n and status != "clean")
    unscored = f", {view['n_unscored']:,} unscored" if view["n_unscored"] else ""
    return (
        f"{view['n_sets']:,} {kind}, {view['n_questions']:,} questions, {view['n_completions']:,} completions"
        + (f" ({bad})" if bad else "")
        + unscored
    )
