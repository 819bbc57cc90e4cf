"""Metrics of parts of the questions, told apart by a field of ``meta``: answerable or not, rare or not (layer L4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from polymode.errors import ConfigError
from polymode.evaluation.columns import ColumnStore, columns_of
from polymode.evaluation.evaluation import Evaluation, measure
from polymode.evaluation.judging import check_confidences, judge_completions, pool_of
from polymode.runs import JudgedCompletion
from polymode.types import Completion, Example

MAX_GROUPS = 50
"""Most values of a field that are worth a group each; more are rather an identity."""


def evaluate_groups(completions: Iterable[Completion], by: str, **options: Any) -> dict[str, Evaluation]:
    """One evaluation for each value of ``meta[by]``, by ``"by = value"``; options as for `evaluate`.

    Raises:
        ConfigError: a question lacks the field, or it has more than ``MAX_GROUPS`` values.
    """
    completions = list(completions)
    labels = {one.example.id: label_of(by, one.example) for one in completions}
    check_groups(labels.values(), by)
    how = {name: options.pop(name) for name in ("metrics", "n_boot", "seed") if name in options}
    judged, view = judge_completions(completions, **options)
    columns = ColumnStore.of([columns_of(judged, pool_of(view), votes=view["confidence_from"] == "votes")])
    check_confidences(columns, view)
    return measure_groups([labels[id_] for id_ in columns.ids], columns, view, source=lambda: judged, **how)


def label_of(by: str, example: Example) -> str:
    """Label of the group of a question, ``"by = value"``; raises ConfigError where it has no such field."""
    if by not in example.meta:
        fields = ", ".join(sorted(example.meta)) or "nothing"
        raise ConfigError(f"by = {by!r}: question {example.id!r} has no such field in meta; it has {fields}")
    value = example.meta[by]
    return f"{by} = {value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)}"


def check_groups(labels: Iterable[str], by: str) -> None:
    """Refuse more groups than are worth it; raises ConfigError."""
    if len(set(labels)) > MAX_GROUPS:
        raise ConfigError(f"by = {by!r} has more than {MAX_GROUPS} values: choose a field that names a few groups")


def measure_groups(
    label_P: Sequence[str],
    columns: ColumnStore,
    how: Mapping[str, Any],
    *,
    source: Callable[[], Iterable[JudgedCompletion]],
    **options: Any,
) -> dict[str, Evaluation]:
    """`measure` for each group of questions, told apart by their labels."""
    places: dict[str, list[int]] = {}
    for place, label in enumerate(label_P):
        places.setdefault(label, []).append(place)
    groups = {}
    for label in sorted(places):
        own = columns.of_questions(np.array(places[label]))
        groups[label] = measure(own, how, source=partial(_of_questions, source, own.ids), **options)
    return groups


def _of_questions(source: Callable[[], Iterable[JudgedCompletion]], ids: list[str]) -> Iterator[JudgedCompletion]:
    members = set(ids)
    return (one for one in source() if one.id in members)
