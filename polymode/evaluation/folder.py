"""A file of completions to judged.jsonl and metrics.json in a folder, in memory that its texts do not fill (layer L4).

::

    index      where each question's completions stand; every line is checked before anything is judged
    shards     a few questions each: judged here, in processes or on a cluster; judged.jsonl.part grows shard by shard
    judged     judged.jsonl, in order, before metrics begin
    measured   metrics.json from the columns of all shards; the part is removed

Whoever interrupts it, or has metrics that fail, goes on with ``resume`` and judges nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from polymode import runs
from polymode.evaluation.columns import Columns, ColumnStore
from polymode.evaluation.engines import engine_for
from polymode.evaluation.evaluation import Evaluation, check_measures, measure
from polymode.evaluation.groups import check_groups, label_of, measure_groups
from polymode.evaluation.judging import BATCH, check_confidences, is_ranked, pool_of, view_of
from polymode.evaluation.losses import Losses
from polymode.evaluation.overlaps import compared
from polymode.evaluation.shards import JudgedShard, Shard, ShardJudge
from polymode.progress import progress_bar
from polymode.uncertainty import N_BOOT
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier
from polymode.verifiers.text import TextVerifier

BLOCK = 1 << 16
"""Numbers of an array that are Python objects at a time."""


def evaluate_into(
    folder: Path,
    source: Path,
    *,
    verifier: Verifier | QuestionVerifier | None = None,
    reading: runs.Reading | None = None,
    k: int | None = None,
    pooled: bool = False,
    pool: int = 1,
    confidence_from: str = "stated",
    by: str | None = None,
    metrics: Sequence[str] = (),
    n_boot: int = N_BOOT,
    seed: int = 0,
    resume: bool = False,
    read_with: Mapping[str, Any] | None = None,
    workers: int | None = 1,
    engine: str = "local",
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """Judge and measure a file of completions, and write both into ``folder``.

    Args:
        folder: where to.
        source: the completions' file.
        verifier: equality of answers; `TextVerifier` when None.
        reading: how its lines are read; as they say when None.
        k: answers of a pooled set, as for `evaluate`, like ``pooled``, ``pool`` and ``confidence_from``.
        pooled: whether single answers of a question are put together.
        pool: completions of a question that become one ranked set.
        confidence_from: of a single answer.
        by: also measure each group of questions with one value of this field of ``meta``.
        metrics: further metrics.
        n_boot: bootstrap replicates.
        seed: of the bootstrap.
        resume: take what an interrupted call judged with the same settings; what was unscored is judged again.
        read_with: options that changed how the file was read, which a resumed call must share.
        workers: processes; None: all cores where the file is large. They start Python anew, so a script that asks for
            several has its work under ``if __name__ == "__main__"``. The numbers do not depend on it.
        engine: ``local``, or ``ray`` for the tasks of a Ray cluster (`ray_engine.ray_tasks`), whose machines see the
            files under the same names.

    Returns:
        The evaluation, and those of the groups by label.

    Raises:
        ConfigError: as `evaluate` and `evaluate_groups`; or there is no Ray cluster.
        RecordError: a line cannot be used; or resumed with other settings: names the first that differs.
        RunExistsError: another process writes into ``folder``.
        WriteError: a file cannot be written.
        WorkerDiedError: a process ended before its work was done; what was finished is kept.
    """
    check_measures(metrics, n_boot)
    verifier = TextVerifier() if verifier is None else verifier
    reading = runs.Reading() if reading is None else reading
    label = None if by is None else partial(label_of, by)
    part = runs.JudgedPart(folder / runs.JUDGED)
    size = source.stat().st_size if source.is_file() else 0
    with runs.alone(part.target):
        with engine_for(engine, workers, size, verifier) as mapped:
            index = runs.index_completions(source, replace(reading, verifier=verifier), mapped, label=label)
            if by is not None:
                check_groups(index.label_P, by)
            settings = {
                "completions": index.sha256,
                "verifier": describe_verifier(verifier),
                "pooled": k if pooled else None,
                "pool": pool if pool > 1 else None,
                **(read_with or {}),
            }
            place_N = np.full(len(index), -1, dtype=np.int64)
            if resume:
                _find_judged(place_N, index, part, settings)
            view = _view(index, k=k, pooled=pooled, pool=pool, confidence_from=confidence_from)
            view["verifier"] = settings["verifier"]
            if (place_N < 0).all():
                part.begin(settings)
            votes = confidence_from == "votes"
            pooling = {"pool": pool_of(view), "ranked": is_ranked(view), "votes": votes}
            judge = ShardJudge(source, index.stamp, reading, part.path, verifier, **pooling)
            columns, losses = _judge(judge, index, place_N, part, mapped)
        check_confidences(columns, view)
        runs.remove_metrics(folder)
        part.finish(
            offset for start in range(0, len(place_N), BLOCK) for offset in place_N[start : start + BLOCK].tolist()
        )
        labels = index.label_P
        del index, place_N  # metrics need the room
        options: dict[str, Any] = {
            "source": partial(_judged, folder),
            "metrics": metrics,
            "n_boot": n_boot,
            "seed": seed,
        }
        evaluation = replace(measure(columns, view, **options), losses=losses)
        groups = {} if by is None else measure_groups(labels, columns, view, **options)
        evaluation.write_metrics(folder, completions=source, groups=groups)
        part.remove()
    return evaluation, groups


def _view(index: runs.CompletionIndex, **how: Any) -> dict[str, Any]:
    """How the completions of a file are measured; raises ConfigError where they cannot be measured so."""
    places = sorted(np.unique(index.k_N, return_index=True)[1].tolist())
    question_N = np.searchsorted(index.start_P, places, side="right") - 1
    first_of_k = {int(index.k_N[place]): index.ids[p] for place, p in zip(places, question_N.tolist(), strict=True)}
    return view_of(first_of_k, int(np.diff(index.start_P).max()), **how)


def _find_judged(place_N: Any, index: runs.CompletionIndex, part: runs.JudgedPart, settings: Mapping[str, Any]) -> None:
    """Fill in where each completion stands in the part; of several lines of one, the last counts."""
    numbers = {id_: number for number, id_ in enumerate(index.ids)}
    for id_, sample, offset in part.places(settings):
        number = numbers.get(id_)
        if number is None:
            continue
        start, end = index.start_P[number : number + 2].tolist()
        place = start + int(np.searchsorted(index.sample_N[start:end], sample))
        if place < end and index.sample_N[place] == sample:
            place_N[place] = offset


def _judge(
    judge: ShardJudge, index: runs.CompletionIndex, place_N: Any, part: runs.JudgedPart, mapped: runs.Map
) -> tuple[ColumnStore, Losses]:
    """Judge all shards; ``place_N`` then says where each line stands in the part."""
    size_P = np.diff(index.start_P)
    several_P = np.flatnonzero(size_P > 1)
    has_overlap_P = np.zeros(len(size_P), dtype=bool)
    has_overlap_P[several_P[compared(len(several_P))]] = True
    shards = (
        Shard(index.questions(first, end), has_overlap_P[first:end], place_N[index.start_P[first] : index.start_P[end]])
        for first, end in index.batches(BATCH)
    )
    losses = Losses()

    def finished(bar: tqdm[Any]) -> Iterator[Columns]:
        start = 0
        done: JudgedShard
        for done in mapped(judge, shards):
            end = start + len(done.size_N)
            if done.lines:
                begin = part.append(done.lines)
                before_N = begin + np.cumsum(done.size_N) - done.size_N
                place_N[start:end] = np.where(done.size_N > 0, before_N, place_N[start:end])
            losses.add(done.losses)
            bar.update(end - start)
            start = end
            yield done.columns

    with progress_bar(total=len(index), desc="judging", unit=" completions") as bar:
        return ColumnStore.of(finished(bar), index.ids), losses


def _judged(folder: Path) -> Iterator[runs.JudgedCompletion]:
    return (line.judged for line in runs.judged_lines(folder / runs.JUDGED))
