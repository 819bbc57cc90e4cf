"""What adapters to evaluators share: questions of a task to put, and completions of them judged and measured.

A question is its prompt and its line of ``completions.jsonl``, which lacks only the completion. The line travels with
the question through the other evaluator and its logs, so `polymode evaluate` reads from them exactly what was judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from json import dumps, loads
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from polymode import runs
from polymode.evaluation import evaluate
from polymode.evaluation.judged import CompletionJudge
from polymode.evaluation.recorded_verifier import open_recorded
from polymode.prompts import check_k, prompt_for, style_of
from polymode.rewards import reward_of
from polymode.tasks import Split, examples_of, open_task, verifier_of
from polymode.types import Completion, Score
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import open_verifier
from polymode.verifiers.description import describe_verifier
from polymode.verifiers.text import TextVerifier

Row = dict[str, Any]
TERMS = ("coverage", "brier", "format")
_OF_A_COMPLETION = ("completion", "sample", "n_tokens", "finished")


class Question(NamedTuple):
    """What a model is asked."""

    prompt: str
    row: Row
    """Its line, without what belongs to a completion."""

    @property
    def targets(self) -> list[str]:
        """Texts of the references."""
        return [reference["text"] for reference in self.row["references"]]


def questions_of(
    task: str,
    *,
    data: Path | str | None = None,
    split: Split = "test",
    n: int | None = None,
    seed: int = 0,
    k: int = 3,
    confidence: bool = True,
    style: str = "task",
    notation: str = "tags",
    **options: Any,
) -> Iterator[Question]:
    """The questions of a task as `polymode generate` asks them.

    Args:
        task: name of the task; ``records`` with ``data`` for a file of one's own.
        data: file or folder of the task.
        split: train, validation or test.
        n: number of questions; all when None.
        seed: of their order.
        k: answers asked for.
        confidence: ask for confidences too.
        style: full, brief or `task` (the task's own).
        notation: tags, lines or confidence-first.
        options: of the task.

    Raises:
        ConfigError: an option that is not allowed.
        DataNotFoundError: the data are not there.
    """
    check_k(k)
    opened = open_task(task, data=data, **options)
    origin = {"task": {"name": task, "options": options}, "verifier": _chosen(verifier_of(opened))}
    chosen = style_of(style, notation, opened.prompt_style)
    for example in examples_of(opened, split, n, seed=seed):
        row = runs.to_json(runs.completion_to_row(Completion(example, "", k, confidence), origin))
        prompt = prompt_for(example, k, confidence=confidence, style=chosen)
        yield Question(prompt, {name: value for name, value in row.items() if name not in _OF_A_COMPLETION})


def with_verifier(row: Mapping[str, Any], name: str | None, options: Mapping[str, Any] | None = None) -> Row:
    """A line that names another verifier; the same where ``name`` is None."""
    if name is None:
        return dict(row)
    described = _opened(name, dumps(options or {}, sort_keys=True))
    return {**row, "meta": {**(row.get("meta") or {}), "verifier": described}}


def score_rows(rows: Sequence[Row], where: str) -> list[tuple[Completion, dict[str, float]]]:
    """Each completion with its total (``score``) and terms, as ``judged.jsonl`` has them; NaN where unscored.

    Raises:
        RecordError: a row cannot be used; says where.
        ConfigError: its verifier cannot be had.
    """
    scored = []
    for row in rows:
        completion = runs.completion_of(row, where)
        judge = CompletionJudge(verifier_named(row), None)
        judge.prepare([completion])
        [one] = judge.judged([completion])
        values = {"score": one.score, **{name: one.terms.get(name) for name in TERMS}}
        scored.append((completion, {name: math.nan if x is None else float(x) for name, x in values.items()}))
    return scored


def score_row(row: Row) -> Score:
    """The reward of a line with a completion, as in training; its total is None where the verifier failed."""
    one = runs.completion_of(row, f"question {row.get('id')!r}")
    method = "multi-rlcr" if one.has_confidence else "multi-rlvr"
    return reward_of(
        one.text, one.example, k=one.k, method=method, verifier=verifier_named(row), finished=one.is_finished
    )


def mean_values(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Means by name, over the values that are there: a completion that could not be judged counts for none."""
    table = list(values)
    return {name: mean_of(one[name] for one in table) for name in table[0]}


def mean_of(values: Iterable[float]) -> float:
    """The mean of those that are not NaN; NaN where there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return fmean(numbers) if numbers else math.nan


def measure_rows(rows: Iterable[Row], where: str) -> dict[str, float]:
    """Every metric of `polymode evaluate` for lines with completions, without intervals; undefined ones are absent."""
    rows = list(rows)
    if not rows:
        return {}
    completions = [runs.completion_of(row, where) for row in rows]
    estimates = evaluate(completions, verifier=verifier_named(rows[0]), n_boot=0).metrics
    return {name: one.value for name, one in estimates.items() if one.n and not math.isnan(one.value)}


def verifier_named(row: Mapping[str, Any]) -> Verifier | QuestionVerifier:
    """What judges a line, as it says itself."""
    named = runs.named_verifier(row.get("meta"))
    if named is None:
        return TextVerifier()
    description = dumps(named, sort_keys=True)
    return _CHOSEN.get(description) or _recorded(description)


@lru_cache
def _opened(name: str, options: str) -> dict[str, Any]:
    return _chosen(open_verifier(name, **loads(options)))


def _chosen(verifier: Verifier | QuestionVerifier) -> dict[str, Any]:
    """Its description, by which it is found again in this process."""
    described = describe_verifier(verifier)
    _CHOSEN.setdefault(dumps(described, sort_keys=True), verifier)
    return described


@lru_cache
def _recorded(named: str) -> Verifier | QuestionVerifier:
    return open_recorded(loads(named), "the question") or TextVerifier()


_CHOSEN: dict[str, Verifier | QuestionVerifier] = {}
"""Verifiers that a person named in this process, by description; a line alone has no code loaded and no model asked."""
