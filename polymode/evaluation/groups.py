"""Metrics of parts of the questions, told apart by a field of ``meta``: answerable or not, rare or not (layer L4)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError
from polymode.evaluation.evaluation import Evaluation, evaluate
from polymode.types import Completion

MAX_GROUPS = 50
"""Most values of a field that are worth a group each; more are rather an identity."""


def evaluate_groups(completions: Iterable[Completion], by: str, **options: Any) -> dict[str, Evaluation]:
    """One evaluation for each value of ``meta[by]``, by ``"by = value"``; options as for `evaluate`.

    Raises:
        ConfigError: a question lacks the field, or it has more than ``MAX_GROUPS`` values.
    """
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        if by not in completion.example.meta:
            fields = ", ".join(sorted(completion.example.meta)) or "nothing"
            raise ConfigError(
                f"by = {by!r}: question {completion.example.id!r} has no such field in meta; it has {fields}"
            )
        value = completion.example.meta[by]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        groups.setdefault(f"{by} = {text}", []).append(completion)
        if len(groups) > MAX_GROUPS:
            raise ConfigError(f"by = {by!r} has more than {MAX_GROUPS} values: choose a field that names a few groups")
    return {label: evaluate(groups[label], **options) for label in sorted(groups)}


def write_groups(folder: Path | str, groups: dict[str, Evaluation]) -> None:
    """Add the groups' views and metrics to the ``metrics.json`` of ``folder``, under ``groups``."""
    parts = {label: replace(evaluation.stored(), curves={}) for label, evaluation in groups.items()}
    replace(runs.read_metrics(Path(folder)), groups=parts).write(Path(folder))
