"""How much the texts of one question's completions have in common (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from polymode.metrics import diversity
from polymode.progress import progress_bar
from polymode.runs import JudgedCompletion
from polymode.types import Completion


def with_overlaps(judged: Sequence[JudgedCompletion], completions: Sequence[Completion]) -> list[JudgedCompletion]:
    """The judged completions, the first of a question with the overlaps of its texts, where it has several.

    Only some questions when there are very many.
    """
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.example.id, []).append(completion)
    several = [id_ for id_, group in groups.items() if len(group) > 1]
    chosen = [several[i] for i in compared(len(several))]
    bar = progress_bar(chosen, desc="overlap", unit=" questions")
    overlaps = {id_: overlap_of(groups[id_]) for id_ in bar}
    # The first completion of a question takes its overlap.
    return [replace(one, overlap=overlaps.pop(one.id)) if one.id in overlaps else one for one in judged]


def compared(n_several: int) -> list[int]:
    """Which of the questions with several completions have their texts compared: all, or so many evenly spaced."""
    count = min(n_several, diversity.MAX_OVERLAP_QUESTIONS)
    return [i * n_several // count for i in range(count)]


def overlap_of(completions: Sequence[Completion]) -> tuple[float | None, ...]:
    """The overlaps of the texts of one question."""
    return tuple(_or_none(x) for x in diversity.text_overlaps([one.text for one in completions]))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
