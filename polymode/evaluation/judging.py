"""All completions to judged ones, in batches that are finished one after the other (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any, TypeVar

from polymode.errors import ConfigError
from polymode.evaluation.columns import ColumnStore
from polymode.evaluation.judged import CompletionJudge
from polymode.evaluation.overlaps import with_overlaps
from polymode.policy.pooling import check_pool
from polymode.progress import progress_bar
from polymode.prompts import check_k
from polymode.rewards import Reward
from polymode.runs import JudgedCompletion
from polymode.types import Completion
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier
from polymode.verifiers.text import TextVerifier

BATCH = 512
"""Completions that are judged together, a few more where a question has further ones. A slow verifier works on a batch
side by side, and what it has judged can be kept before the next one begins."""

Sampled = TypeVar("Sampled", Completion, JudgedCompletion)


def judge_completions(
    completions: Iterable[Completion],
    *,
    verifier: Verifier | QuestionVerifier | None = None,
    reward: Reward | None = None,
    k: int | None = None,
    pooled: bool = False,
    pool: int = 1,
    confidence_from: str = "stated",
) -> tuple[list[JudgedCompletion], dict[str, Any]]:
    """Every completion judged, in the order question, sample, and how: k, pooled, pool, confidence_from, verifier.

    Arguments and errors as for `polymode.evaluation.evaluate`.
    """
    in_order = ordered(list(completions), lambda completion: completion.example.id)
    if not in_order:
        raise ConfigError("completions is empty: give at least one completion")
    for completion, after in pairwise(in_order):
        first, example = completion.example, after.example
        if first.id == example.id and first is not example and first != example:
            raise ConfigError(f"id {example.id!r} stands for two different questions: give each question its own id")
    questions = [list(own) for _, own in groupby(in_order, lambda completion: completion.example.id)]
    first_of_k: dict[int, str] = {}
    for completion in in_order:
        first_of_k.setdefault(completion.k, completion.example.id)
    largest = max(map(len, questions))
    how = view_of(first_of_k, largest, k=k, pooled=pooled, pool=pool, confidence_from=confidence_from)
    judge = CompletionJudge(verifier if verifier is not None else TextVerifier(), reward)
    judged: list[JudgedCompletion] = []
    with progress_bar(total=len(in_order), desc="judging", unit=" completions") as bar:
        for batch in batches(questions, BATCH):
            judge.prepare([completion for question in batch for completion in question])
            for question in batch:
                judged += judge.judged(question, pool_of(how), ranked=is_ranked(how))
                bar.update(len(question))
    return with_overlaps(judged, in_order), {**how, "verifier": describe_verifier(judge.verifier)}


def view_of(
    first_of_k: Mapping[int, str], n_samples: int, *, k: int | None, pooled: bool, pool: int, confidence_from: str
) -> dict[str, Any]:
    """How completions are measured: k, pooled, confidence_from, and pool where it is not 1.

    Args:
        first_of_k: each number of answers that was asked for, with the id of the first completion of it.
        n_samples: most completions of a question.
        k: single answers that are put together as one set.
        pooled: whether they are.
        pool: completions whose answer sets are pooled into one ranked set.
        confidence_from: of a single answer.

    Raises:
        ConfigError: they cannot be measured so.
    """
    if confidence_from not in ("stated", "votes"):
        raise ConfigError(f"confidence_from = {confidence_from!r} is not known: use 'stated' or 'votes'")
    if check_pool(pool) > 1:
        _check_ranked(pool, first_of_k, n_samples, pooled=pooled, votes=confidence_from == "votes")
        return {"k": max(first_of_k), "pooled": False, "pool": pool, "confidence_from": confidence_from}
    if confidence_from == "votes" and not pooled:
        raise ConfigError("confidence_from = 'votes' counts answers of pooled sets: pass pooled=True and k")
    if pooled:
        if k is None:
            raise ConfigError("k is missing: pooled=True needs the number of completions that make one set")
        check_k(k)
        several, id_ = next(((k, id_) for k, id_ in first_of_k.items() if k != 1), (1, ""))
        if several != 1:
            raise ConfigError(
                f"pooled = True needs single-answer completions, but id {id_!r} asks for k = {several}: multi-answer "
                f"completions become one ranked set with pool = {k}"
            )
        if n_samples < k:
            raise ConfigError(
                f"k = {k} is too large for pooled sets: no question has {k} samples; generate more samples"
            )
    several = {} if pooled or len(first_of_k) == 1 else {"least_k": min(first_of_k)}
    return {"k": k if pooled else max(first_of_k), **several, "pooled": pooled, "confidence_from": confidence_from}


def _check_ranked(pool: int, first_of_k: Mapping[int, str], n_samples: int, *, pooled: bool, votes: bool) -> None:
    if pooled or votes:
        name, what = ("pooled = True", "puts") if pooled else ("confidence_from = 'votes'", "counts")
        raise ConfigError(f"pool = {pool} averages answer sets, {name} {what} single answers: leave one of them out")
    if len(first_of_k) > 1:
        one, other = (f"id {id_!r} asks for k = {k}" for k, id_ in list(first_of_k.items())[:2])
        raise ConfigError(f"pool = {pool} needs completions of one K, but {one} and {other}: evaluate them apart")
    if n_samples < pool:
        raise ConfigError(
            f"pool = {pool} is too large: the most samples that a question has are {n_samples}; generate with "
            f"--samples {pool}"
        )


def pool_of(view: Mapping[str, Any]) -> int:
    """Completions of a pooled set; 0 where a completion is a set by itself."""
    return int(view.get("pool") or (view.get("k") or 1) * bool(view.get("pooled")))


def is_ranked(view: Mapping[str, Any]) -> bool:
    """Whether pooled sets are ranked ones, of averages."""
    return (view.get("pool") or 1) > 1


def check_confidences(columns: ColumnStore, view: Mapping[str, Any]) -> None:
    """Refuse to average where well-formed completions state no confidence at all; raises ConfigError."""
    if is_ranked(view) and columns.array("statuses_P_4")[:, 0].any() and not columns.array("states_P").any():
        raise ConfigError(
            f"pool = {view['pool']} averages confidences, and no completion states one: leave pool out, or measure "
            "them first (polymode confidences)"
        )


def ordered(items: list[Sampled], id_of: Callable[[Sampled], str]) -> list[Sampled]:
    """Questions in order of first appearance, samples in order."""
    place = {id_: number for number, id_ in enumerate(dict.fromkeys(map(id_of, items)))}
    return sorted(items, key=lambda one: (place[id_of(one)], one.sample))


def batches(questions: Iterable[list[Sampled]], size: int) -> Iterator[list[list[Sampled]]]:
    """Whole questions, ``size`` completions or somewhat more in each batch."""
    batch: list[list[Sampled]] = []
    n = 0
    for question in questions:
        batch.append(question)
        n += len(question)
        if n >= size:
            yield batch
            batch, n = [], 0
    if batch:
        yield batch
