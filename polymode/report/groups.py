"""Groups of the last training step: the scores of the completions of one question, which are the training signal.

A group whose completions all have the same score gives no signal; one where they differ shows which completions become
more likely and which less. Read from the completions of a training run (layer L4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import MissingExtraError
from polymode.report.examples import shorten

MOST = 6
"""Largest number of groups in the selection."""
_SCORE = "polymode"


@dataclass(frozen=True, slots=True)
class Member:
    """One completion of a group."""

    score: float | None
    """None when it could not be judged."""
    verdicts: str
    """Verdict of each answer in slot order; the parse status when there are no answers."""
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """The completions of one question in one step, best first."""

    question: str
    members: tuple[Member, ...]

    @property
    def is_equal(self) -> bool:
        """Whether all scores are the same, so that every advantage is 0."""
        return len({member.score for member in self.members if member.score is not None}) <= 1


@dataclass(frozen=True, slots=True)
class StepGroups:
    """Some groups of the last step of one run."""

    label: str
    step: int
    n_groups: int
    n_equal: int
    """Of all groups of the step."""
    selection: tuple[Group, ...]


def last_groups(train: Path, label: str) -> StepGroups | None:
    """Groups of the last logged step below the training folder; None without any, or where pyarrow is missing."""
    steps = runs.steps_with_completions(train)
    if not steps:
        return None
    try:
        rows = runs.read_step_completions(train, steps[-1])
    except MissingExtraError:  # a report of runs that others trained goes without
        return None
    groups = [
        _group(question, list(members)) for question, members in groupby(rows, key=lambda row: _message(row["prompt"]))
    ]
    if not groups:
        return None
    count = min(MOST, len(groups))
    return StepGroups(
        label=label,
        step=int(rows[0]["step"]),
        n_groups=len(groups),
        n_equal=sum(group.is_equal for group in groups),
        selection=tuple(groups[i * len(groups) // count] for i in range(count)),
    )


def _message(value: Any) -> str:
    """A text, or the last message of a chat."""
    return value if isinstance(value, str) else str(value[-1]["content"])


def _group(question: str, rows: Sequence[Mapping[str, Any]]) -> Group:
    members = [
        Member(
            score=row.get(_SCORE),
            verdicts=row.get("verdicts") or str(row.get("status") or ""),
            text=shorten(_message(row["completion"]), 600),
        )
        for row in rows
    ]
    members.sort(key=lambda member: math.inf if member.score is None else -member.score)
    return Group(shorten(question, 800), tuple(members))
