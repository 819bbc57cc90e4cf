"""Metrics of parts of the questions, told apart by a field of ``meta``: answerable or not, rare or not (layer L4)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from polymode.errors import ConfigError
from polymode.evaluation.evaluation import Evaluation, measure
from polymode.evaluation.judging import judge_completions
from polymode.runs import JudgedCompletion
from polymode.types import Completion

MAX_GROUPS = 50
"""Most values of a field that are worth a group each; more are rather an identity."""


def evaluate_groups(completions: Iterable[Completion], by: str, **options: Any) -> dict[str, Evaluation]:
    """One evaluation for each value of ``meta[by]``, by ``"by = value"``; options as for `evaluate`.

    Raises:
        ConfigError: a question lacks the field, or it has more than ``MAX_GROUPS`` values.
    """
    completions = list(completions)
    groups = groups_of(completions, by)
    how = {name: options.pop(name) for name in ("metrics", "n_boot", "seed") if name in options}
    return measure_groups(groups, *judge_completions(completions, **options), **how)


def groups_of(completions: Iterable[Completion], by: str) -> dict[str, str]:
    """Label of the group of each question, ``"by = value"``, by id; raises as `evaluate_groups`."""
    labels: dict[str, str] = {}
    for completion in completions:
        if by not in completion.example.meta:
            fields = ", ".join(sorted(completion.example.meta)) or "nothing"
            raise ConfigError(
                f"by = {by!r}: question {completion.example.id!r} has no such field in meta; it has {fields}"
            )
        value = completion.example.meta[by]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        labels[completion.example.id] = f"{by} = {text}"
    if len(set(labels.values())) > MAX_GROUPS:
        raise ConfigError(f"by = {by!r} has more than {MAX_GROUPS} values: choose a field that names a few groups")
    return labels


def measure_groups(
    groups: Mapping[str, str], judged: Iterable[JudgedCompletion], how: Mapping[str, Any], **options: Any
) -> dict[str, Evaluation]:
    """`measure` for each group of questions (`groups_of`)."""
    members: dict[str, list[JudgedCompletion]] = {}
    for one in judged:
        members.setdefault(groups[one.id], []).append(one)
    return {label: measure(members[label], how, **options) for label in sorted(members)}
