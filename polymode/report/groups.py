"""Groups of the last training step: the scores of the completions of one question, which are the training signal.

A group whose completions all have the same score gives no signal; one where they differ shows which completions become
more likely and which less. Read from ``checkpoints/completions/*.parquet`` of a training run (layer L4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from polymode.report.examples import shorten

FOLDER = "checkpoints/completions"
MOST = 6
"""Groups shown of a run, evenly spaced over the step."""
_SCORE, _COVERAGE = "polymode", "term_coverage"


@dataclass(frozen=True, slots=True)
class Member:
    """One completion of a group."""

    score: float | None
    """None when it could not be judged."""
    coverage: float | None
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
    shown: tuple[Group, ...]


def last_groups(train: Path, label: str) -> StepGroups | None:
    """Groups of the last logged step below the training folder; None without any, or where pyarrow is missing."""
    found = sorted((train / FOLDER).glob("*.parquet"))
    if not found:
        return None
    try:
        import pyarrow.parquet as pq
    except ImportError:  # it comes with the extra `train`; a report of runs that others trained goes without
        return None
    rows: list[dict[str, Any]] = pq.read_table(found[-1]).to_pylist()
    groups = [_group(question, list(members)) for question, members in groupby(rows, key=_question)]
    if not groups:
        return None
    count = min(MOST, len(groups))
    return StepGroups(
        label=label,
        step=int(rows[0]["step"]),
        n_groups=len(groups),
        n_equal=sum(group.is_equal for group in groups),
        shown=tuple(groups[i * len(groups) // count] for i in range(count)),
    )


def of_arms(arms: Sequence[tuple[str, Path]]) -> Iterator[StepGroups]:
    """Groups of several runs, in their order; runs without logged completions are left out."""
    for label, train in arms:
        groups = last_groups(train, label)
        if groups is not None:
            yield groups


def _question(row: Mapping[str, Any]) -> str:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _group(question: str, rows: Sequence[Mapping[str, Any]]) -> Group:
    members = [
        Member(
            score=row.get(_SCORE),
            coverage=row.get(_COVERAGE),
            verdicts=row.get("verdicts") or str(row.get("status") or ""),
            text=shorten(_text(row["completion"]), 600),
        )
        for row in rows
    ]
    members.sort(key=lambda member: math.inf if member.score is None else -member.score)
    return Group(shorten(question, 800), tuple(members))


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
