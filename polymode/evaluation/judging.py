"""All completions to judged ones, in batches that are finished one after the other (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any, TypeVar

from tqdm import tqdm

from polymode.errors import ConfigError
from polymode.evaluation.judged import SHOW_AFTER, CompletionJudge, with_overlaps
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
    confidence_from: str = "stated",
) -> tuple[list[JudgedCompletion], dict[str, Any]]:
    """Every completion judged, in the order question, sample, and how: k, pooled, confidence_from, verifier.

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
    several = next(((c.example.id, c.k) for c in in_order if c.k != 1), None)
    largest = max(map(len, questions))
    how = view_of(max(c.k for c in in_order), largest, several, k=k, pooled=pooled, confidence_from=confidence_from)
    judge = CompletionJudge(verifier if verifier is not None else TextVerifier(), reward)
    judged: list[JudgedCompletion] = []
    with tqdm(total=len(in_order), desc="judging", unit=" completions", delay=SHOW_AFTER, leave=False) as bar:
        for batch in batches(questions, BATCH):
            judge.prepare([completion for question in batch for completion in question])
            for question in batch:
                judged += judge.judged(question, how["k"] if pooled else 0)
                bar.update(len(question))
    return with_overlaps(judged, in_order), {**how, "verifier": describe_verifier(judge.verifier)}


def view_of(
    most: int, n_samples: int, several: tuple[str, int] | None, *, k: int | None, pooled: bool, confidence_from: str
) -> dict[str, Any]:
    """How completions are measured: k, pooled, confidence_from.

    Args:
        most: largest k that was asked for.
        n_samples: most completions of a question.
        several: id and k of the first completion that was asked for more than one answer; None where none was.
        k: answers of a pooled set.
        pooled: whether completions are put together.
        confidence_from: of a pooled answer.

    Raises:
        ConfigError: they cannot be measured so.
    """
    if confidence_from not in ("stated", "votes"):
        raise ConfigError(f"confidence_from = {confidence_from!r} is not known: use 'stated' or 'votes'")
    if confidence_from == "votes" and not pooled:
        raise ConfigError("confidence_from = 'votes' counts answers of pooled sets: pass pooled=True and k")
    if pooled:
        if k is None:
            raise ConfigError("k is missing: pooled=True needs the number of completions that make one set")
        check_k(k)
        if several is not None:
            raise ConfigError(
                f"pooled = True needs single-answer completions, but id {several[0]!r} asks for k = {several[1]}: "
                "leave pooled out for multi-answer completions"
            )
        if n_samples < k:
            raise ConfigError(
                f"k = {k} is too large for pooled sets: no question has {k} samples; generate more samples"
            )
    return {"k": k if pooled else most, "pooled": pooled, "confidence_from": confidence_from}


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
