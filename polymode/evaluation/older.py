"""Judged completions of polymode 0.1.0, with what later versions also store (layer L4).

Its judged.jsonl held the verdicts, not yet classes and masses of answers, pooled sets, the best possible coverage and
overlaps. They follow from the verdicts and from completions.jsonl, so no verifier is asked. Answers are in one class
when they match the same reference or their normalised texts are equal: 0.1.0 judged by text unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from polymode import runs
from polymode.errors import UserError
from polymode.evaluation.overlaps import with_overlaps
from polymode.evaluation.sets import pools_of
from polymode.metrics import alignment
from polymode.runs import JudgedCompletion, JudgedSet
from polymode.runs.judged import VerdictName
from polymode.types import Completion, Example
from polymode.verifiers.text import normalise


def completed(judged: Sequence[JudgedCompletion], folder: Path, pool: int) -> list[JudgedCompletion]:
    """The lines of ``folder`` with the fields that 0.1.0 did not write, as far as they can be known.

    Args:
        judged: in the order question, sample.
        folder: holds completions.jsonl too; without it distributions and texts are unknown.
        pool: completions of a pooled set; 0 when a completion is a set by itself.
    """
    completions = _completions(folder, next((one.k for one in judged if one.k), None))
    examples = {c.example.id: c.example for c in completions}
    classes: dict[str, dict[str | int, int]] = {}
    lines = [_with_classes(one, examples.get(one.id), classes.setdefault(one.id, {})) for one in judged]
    pools = {
        (members[0].id, members[0].sample): _pooled(members, examples.get(members[0].id), pool)
        for members in (pools_of(lines, pool) if pool else ())
    }
    lines = [replace(one, pool=pools.get((one.id, one.sample))) for one in lines]
    return with_overlaps(lines, sorted(completions, key=lambda c: c.sample))


def _completions(folder: Path, k: int | None) -> list[Completion]:
    try:
        return runs.read_completions(folder, k=k)
    except UserError:
        return []


def _with_classes(one: JudgedCompletion, example: Example | None, numbers: dict[str | int, int]) -> JudgedCompletion:
    is_open = one.open or one.classes is not None  # 0.1.0 stored classes only where answers are without number
    one = replace(one, open=is_open, best=_best(example, one.k or 1, one.n_references, is_open))
    if not one.is_scored:
        return one
    pairs = zip(one.answers, one.matches, strict=True)
    keys: list[str | int] = [normalise(text) if match is None else match for text, match in pairs]
    classes = one.classes or tuple(numbers.setdefault(key, len(numbers)) for key in keys)
    return replace(one, classes=classes, masses=_masses(one, example))


def _best(example: Example | None, k: int, n_references: int | None, is_open: bool) -> float | None:
    if example is not None and example.p_correct is not None:
        return alignment.best_coverage(np.fromiter(example.p_correct.values(), float), k)
    if n_references is None:
        return None
    return float(k if is_open else min(n_references, k))


def _masses(one: JudgedCompletion, example: Example | None) -> tuple[float, ...] | None:
    masses = None if example is None else example.distribution
    if example is not None and masses is None and example.exclusive and not one.open:
        masses = example.p_correct
    if example is None or masses is None:
        return None
    by_key: dict[str, float] = {}
    for name, mass in masses.items():
        by_key[normalise(name)] = by_key.get(normalise(name), 0.0) + mass
    out = []
    for text, match in zip(one.answers, one.matches, strict=True):
        names = [text] if match is None or one.open else [text, *example.references[match].names]
        out.append(next((by_key[key] for key in map(normalise, names) if key in by_key), 0.0))
    return tuple(out)


def _pooled(members: Sequence[JudgedCompletion], example: Example | None, k: int) -> JudgedSet:
    """Single answers as one set: equal classes are repeats, the first answer that finds a reference is a hit."""
    is_open = any(one.open for one in members)
    verdicts: tuple[VerdictName, ...] = tuple(verdict for one in members for verdict in one.verdicts)
    matches = tuple(match for one in members for match in one.matches)
    n_references = k if is_open else members[0].n_references
    best = _best(example, k, n_references, is_open)
    if "unscored" in verdicts:
        return JudgedSet(verdicts=verdicts, matches=matches, n_references=n_references, open=is_open, best=best)
    classes = tuple(number for one in members for number in one.classes or ())
    first: dict[int, int] = {}
    duplicates = tuple(None if first.setdefault(number, i) == i else first[number] for i, number in enumerate(classes))
    hits: tuple[Literal[0, 1], ...] = tuple(
        1 if verdict == "correct" and duplicate is None else 0
        for verdict, duplicate in zip(verdicts, duplicates, strict=True)
    )
    chances = [p for one in members for p in one.p_correct or (math.nan,) * len(one.verdicts)]
    p_correct = [
        0.0 if d is not None else None if p is None or p != p else p for p, d in zip(chances, duplicates, strict=True)
    ]
    return JudgedSet(
        verdicts=verdicts,
        hits=hits,
        matches=matches,
        duplicates=duplicates,
        n_references=n_references,
        p_correct=None if members[0].p_correct is None else tuple(p_correct),
        open=is_open,
        classes=classes,
        masses=None if members[0].masses is None else tuple(m for one in members for m in one.masses or ()),
        best=best,
    )
