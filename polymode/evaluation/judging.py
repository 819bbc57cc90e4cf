"""All completions to judged ones, in batches that are finished one after the other (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
Question = list[Completion]
"""The completions of one question, in sample order."""


def judge_completions(
    completions: Iterable[Completion],
    *,
    verifier: Verifier | QuestionVerifier | None = None,
    reward: Reward | None = None,
    k: int | None = None,
    pooled: bool = False,
    confidence_from: str = "stated",
    present: Iterable[JudgedCompletion] = (),
    keep: Callable[[list[JudgedCompletion]], object] | None = None,
) -> tuple[list[JudgedCompletion], dict[str, Any]]:
    """Every completion judged, in the order question, sample, and how: k, pooled, confidence_from, verifier.

    Arguments and errors as for `polymode.evaluation.evaluate`, and:
        present: what was judged already, in the same way; a question with an unscored answer is judged again.
        keep: called with each batch that has just been judged.
    """
    in_order = ordered(list(completions), lambda completion: completion.example.id)
    _check(in_order, k, pooled, confidence_from)
    questions = {id_: list(own) for id_, own in groupby(in_order, lambda completion: completion.example.id)}
    if pooled and not any(len(own) >= (k or 0) for own in questions.values()):
        raise ConfigError(f"k = {k} is too large for pooled sets: no question has {k} samples; generate more samples")
    judge = CompletionJudge(verifier if verifier is not None else TextVerifier(), reward)
    pool = k or 0 if pooled else 0
    judged = _finished(questions, present)
    missing = [question for id_, question in questions.items() if id_ not in judged]
    with tqdm(total=len(in_order), desc="judging", unit=" completions", delay=SHOW_AFTER, leave=False) as bar:
        bar.update(len(in_order) - sum(map(len, missing)))
        for batch in _batches(missing):
            judge.prepare([completion for question in batch for completion in question])
            for question in batch:
                judged[question[0].example.id] = judge.judged(question, pool)
                bar.update(len(question))
            if keep is not None:
                keep([one for question in batch for one in judged[question[0].example.id]])
    how = {
        "k": k if pooled else max(c.k for c in in_order),
        "pooled": pooled,
        "confidence_from": confidence_from,
        "verifier": describe_verifier(judge.verifier),
    }
    return with_overlaps([one for id_ in questions for one in judged[id_]], in_order), how


def _finished(
    questions: Mapping[str, Question], present: Iterable[JudgedCompletion]
) -> dict[str, list[JudgedCompletion]]:
    """By id, the questions of which all is there and scored: what a verifier failed on may succeed by now."""
    by_sample = {(one.id, one.sample): one for one in present}
    finished = {}
    for id_, question in questions.items() if by_sample else ():
        own = [by_sample[id_, one.sample] for one in question if (id_, one.sample) in by_sample]
        if len(own) == len(question) and all(one.is_scored and (one.pool is None or one.pool.is_scored) for one in own):
            finished[id_] = own
    return finished


def ordered(items: list[Sampled], id_of: Callable[[Sampled], str]) -> list[Sampled]:
    """Questions in order of first appearance, samples in order."""
    place = {id_: number for number, id_ in enumerate(dict.fromkeys(map(id_of, items)))}
    return sorted(items, key=lambda one: (place[id_of(one)], one.sample))


def _batches(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Whole questions, ``BATCH`` completions or somewhat more in each."""
    batch: list[Question] = []
    for question in questions:
        batch.append(question)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _check(in_order: list[Completion], k: int | None, pooled: bool, confidence_from: str) -> None:
    if not in_order:
        raise ConfigError("completions is empty: give at least one completion")
    if confidence_from not in ("stated", "votes"):
        raise ConfigError(f"confidence_from = {confidence_from!r} is not known: use 'stated' or 'votes'")
    if confidence_from == "votes" and not pooled:
        raise ConfigError("confidence_from = 'votes' counts answers of pooled sets: pass pooled=True and k")
    for completion, after in pairwise(in_order):
        first, example = completion.example, after.example
        if first.id == example.id and first is not example and first != example:
            raise ConfigError(f"id {example.id!r} stands for two different questions: give each question its own id")
    if not pooled:
        return
    if k is None:
        raise ConfigError("k is missing: pooled=True needs the number of completions that make one set")
    check_k(k)
    several = next((c for c in in_order if c.k != 1), None)
    if several is not None:
        raise ConfigError(
            f"pooled = True needs single-answer completions, but id {several.example.id!r} asks for k = {several.k}: "
            "leave pooled out for multi-answer completions"
        )
