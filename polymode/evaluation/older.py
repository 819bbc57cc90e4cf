"""Judged completions of polymode 0.1.0, with what later versions also store (layer L4).

Its judged.jsonl held the verdicts, not yet classes and masses of answers, pooled sets, the best possible coverage and
overlaps. They follow from the verdicts and from completions.jsonl, so no verifier is asked. Answers are in one class
when they match the same reference or their normalised texts are equal: 0.1.0 judged by text unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import UserError
from polymode.evaluation.equality import Equality
from polymode.evaluation.overlaps import with_overlaps
from polymode.evaluation.sets import pools_of
from polymode.runs import JudgedCompletion, JudgedSet
from polymode.types import Completion, Example, Reference
from polymode.verifiers.text import TextVerifier


class _OpenText(TextVerifier):
    """Equality of texts where right answers are without number."""

    open = True


def completed(judged: Sequence[JudgedCompletion], folder: Path, pool: int) -> list[JudgedCompletion]:
    """The lines of ``folder`` with the fields that 0.1.0 did not write, as far as they can be known.

    Args:
        judged: in the order question, sample.
        folder: holds completions.jsonl too; without it distributions and texts are unknown.
        pool: completions of a pooled set; 0 when a completion is a set by itself.
    """
    completions: list[Completion] = []
    with suppress(UserError):
        completions = runs.read_completions(folder, k=next((one.k for one in judged if one.k), None))
    examples = {c.example.id: c.example for c in completions}
    is_open = any(one.classes is not None for one in judged)  # 0.1.0 stored classes only then
    verifier = _OpenText() if is_open else TextVerifier()
    equalities: dict[str, Equality] = {}
    lines = []
    for one in judged:
        if one.id not in equalities:
            stand_in = Example(one.id, "", (Reference(""),) * (one.n_references or 0))
            equalities[one.id] = Equality(examples.get(one.id, stand_in), verifier)
        lines.append(_with_facts(one, equalities[one.id]))
    pools = {
        (members[0].id, members[0].sample): _pooled(members, equalities[members[0].id])
        for members in (pools_of(lines, pool) if pool else ())
    }
    lines = [replace(one, pool=pools.get((one.id, one.sample))) for one in lines]
    return with_overlaps(lines, sorted(completions, key=lambda c: c.sample))


def _with_facts(one: JudgedCompletion, equality: Equality) -> JudgedCompletion:
    best = None if one.n_references is None else equality.best_coverage(one.k or 1)
    one = replace(one, open=equality.is_open, best=best)
    if not one.is_scored:
        return one
    answers = [equality.look_up(text, match) for text, match in zip(one.answers, one.matches, strict=True)]
    return replace(
        one,
        classes=one.classes or tuple(answer.class_ for answer in answers),
        masses=tuple(answer.mass for answer in answers) if equality.has_masses else None,
    )


def _pooled(members: Sequence[JudgedCompletion], equality: Equality) -> JudgedSet:
    """Single answers as one set: equal classes are repeats, the first answer that finds a reference is a hit."""

    def joined(name: str) -> tuple[Any, ...] | None:
        parts = [getattr(one, name) for one in members]
        return None if parts[0] is None else tuple(x for part in parts for x in part or ())

    k = len(members)
    pool = JudgedSet(
        verdicts=joined("verdicts") or (),
        matches=joined("matches") or (),
        n_references=k if equality.is_open else members[0].n_references,
        open=equality.is_open,
        best=equality.best_coverage(k),
    )
    if not pool.is_scored:
        return pool
    classes, p_correct = joined("classes") or (), joined("p_correct")
    first: dict[int, int] = {}
    duplicates = [None if first.setdefault(number, i) == i else first[number] for i, number in enumerate(classes)]
    return replace(
        pool,
        hits=tuple(hit if duplicate is None else 0 for hit, duplicate in zip(pool.hits, duplicates, strict=True)),
        duplicates=tuple(duplicates),
        p_correct=p_correct and tuple(0.0 if d is not None else p for p, d in zip(p_correct, duplicates, strict=True)),
        classes=classes,
        masses=joined("masses"),
    )
