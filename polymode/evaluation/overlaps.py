"""How much the texts of a question's completions have in common, kept at its first judged completion (layer L4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from polymode.metrics import diversity
from polymode.runs import JudgedCompletion
from polymode.types import Completion

_SHOW_AFTER = 2.0  # seconds before a progress bar appears


def with_overlaps(judged: Sequence[JudgedCompletion], completions: Sequence[Completion]) -> list[JudgedCompletion]:
    """The judged completions, the first of a question with the overlaps of its texts, where it has several.

    Only some questions when there are very many.
    """
    texts: dict[str, list[str]] = {}
    for completion in completions:
        texts.setdefault(completion.example.id, []).append(completion.text)
    several = [id_ for id_, group in texts.items() if len(group) > 1]
    count = min(len(several), diversity.MAX_OVERLAP_QUESTIONS)
    chosen = [several[i * len(several) // count] for i in range(count)]
    bar = tqdm(chosen, desc="overlap", unit=" questions", delay=_SHOW_AFTER, leave=False)
    found = {id_: tuple(float(x) for x in diversity.text_overlaps(texts[id_])) for id_ in bar}
    out = []
    for one in judged:
        overlap = found.pop(one.id, None)  # the first completion of the question takes it
        out.append(one if overlap is None else replace(one, overlap=tuple(None if x != x else x for x in overlap)))
    return out


def overlaps_of(judged: Iterable[JudgedCompletion], questions: Mapping[str, int]) -> np.ndarray:
    """Text overlaps of each question (P, 4), NaN where they were not computed."""
    out_P = np.full((len(questions), len(diversity.OVERLAPS)), np.nan)
    for one in judged:
        if one.overlap is not None:
            out_P[questions[one.id]] = np.array(one.overlap, dtype=float)
    return out_P
