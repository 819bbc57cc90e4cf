"""One question of one run with everything that is known of it: completions in pieces, verdicts, score, truth (L4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymode.errors import RecordError
from polymode.parsing import parse_answers
from polymode.prompts import MAX_K
from polymode.references import reference_from
from polymode.types import Reference
from polymode.verifiers.text import normalise
from polymode.web.browsing.judged import Judged, Mark, is_number
from polymode.web.browsing.segments import Segment, segments_of, shortened

LONGEST = 6000
"""Characters of a reasoning, a question or an answer that are shown."""
MAX_LIKELY, LEAST_LIKELY = 8, 0.005
"""Possible answers listed besides the references: so many, and only when this probable."""


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One answer as it was judged."""

    slot: int
    text: str
    mark: Mark
    confidence: float | None
    probability: float | None
    """True probability that it is a new hit; None where nobody knows."""
    about: str
    """What the mark rests on: the reference that it matches, the answer that it repeats, the fault."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion."""

    judged: Judged
    answers: tuple[AnswerLine, ...]
    segments: tuple[Segment, ...]
    note: str
    """Why the text is not shown, or not marked; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A reference, or another possible answer whose probability is known."""

    text: str
    aliases: tuple[str, ...]
    is_reference: bool
    probability: float | None
    n_found: int
    """Completions that found it."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of one run."""

    id: str
    text: str | None
    """None where no completion is kept."""
    attempts: tuple[Attempt, ...]
    truths: tuple[Truth, ...]
    is_distribution: bool
    """Whether the probabilities are those of the reference distribution, or that each answer is right."""


def question_of(judged: Sequence[Judged], rows: Sequence[Mapping[str, Any] | None], where: Sequence[str]) -> Question:
    """Put together what both files say of a question.

    Args:
        judged: its judged completions, at least one.
        rows: the line of completions.jsonl of each; None where it is not kept.
        where: names that place, for errors.

    Raises:
        RecordError: a line of completions.jsonl cannot be used.
    """
    kept = [(row, place) for row, place in zip(rows, where, strict=True) if row is not None]
    first, place = kept[0] if kept else ({}, "")
    references = _references(first, place)
    attempts = tuple(_attempt(one, row, references, at) for one, row, at in zip(judged, rows, where, strict=True))
    return Question(
        id=judged[0].id,
        text=text_of(first) if kept else None,
        attempts=attempts,
        truths=_truths(first, references, [one.found for one in judged]),
        is_distribution=bool(_masses(first)),
    )


def text_of(row: Mapping[str, Any]) -> str:
    """The question that a line of completions.jsonl holds."""
    text = row.get("question")
    return text if isinstance(text, str) else ""


def shorten(text: str, longest: int = LONGEST) -> str:
    """``text``, or its beginning with how much was left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} \N{HORIZONTAL ELLIPSIS} ({len(text) - longest:,} more characters)"


def _attempt(one: Judged, row: Mapping[str, Any] | None, references: Sequence[Reference], where: str) -> Attempt:
    answers = tuple(_answer(one, i, references) for i in range(len(one.answers)))
    if row is None:
        return Attempt(one, answers, (), "the completion is not kept in completions.jsonl")
    text = row.get("completion")
    if not isinstance(text, str):
        raise RecordError(f"{where}: completion must be a text; write the file anew with polymode generate")
    k = one.k if one.k is not None else row.get("k")
    if not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise RecordError(f"{where}: k must be a whole number from 1 to {MAX_K}; judge again with polymode evaluate")
    asked = row.get("confidence")
    confidence = asked if isinstance(asked, bool) else "<confidence" in text
    read = parse_answers(text, k, confidence=confidence, finished=row.get("finished") is not False, salvage=True)
    is_same = tuple(answer.text for answer in read.answers) == one.answers
    segments = segments_of(text, read, [answer.mark for answer in answers] if is_same else None)
    note = "" if is_same else "the text holds other answers than those that were judged: evaluate again"
    return Attempt(one, answers, tuple(shortened(segments, LONGEST)), note)


def _answer(one: Judged, i: int, references: Sequence[Reference]) -> AnswerLine:
    mark, about = one.mark(i), ""
    match, earlier = one.matches[i], one.duplicates[i]
    if mark == "unscored":
        about = "; ".join(one.faults)
    elif earlier is not None:
        about = f"as answer {earlier + 1}"
    elif (
        match is not None and match < len(references) and normalise(references[match].text) != normalise(one.answers[i])
    ):
        about = references[match].text
    return AnswerLine(
        slot=i + 1,
        text=shorten(one.answers[i]),
        mark=mark,
        confidence=one.confidences[i],
        probability=None if one.p_correct is None or mark == "repeat" else one.p_correct[i],
        about=shorten(about, 300),
    )


def _references(row: Mapping[str, Any], where: str) -> list[Reference]:
    values = row.get("references") or []
    if not isinstance(values, list):
        raise RecordError(f"{where}: references must be a list; write the file anew with polymode generate")
    try:
        return [reference_from(value) for value in values]
    except RecordError as exc:
        raise RecordError(f"{where}: {exc}") from None


def _masses(row: Mapping[str, Any]) -> dict[str, float]:
    """Probability of each possible answer, as it is written; empty where nobody knows."""
    for name in ("distribution", "p_correct"):
        masses = row.get(name)
        if isinstance(masses, dict) and masses:
            return {text: float(p) for text, p in masses.items() if is_number(p) and 0 <= p <= 1}
    return {}


def _truths(row: Mapping[str, Any], references: Sequence[Reference], found: Iterable[set[int]]) -> tuple[Truth, ...]:
    masses = _masses(row)
    by_name = {normalise(text): p for text, p in masses.items()}
    by_attempt = list(found)
    truths, listed = [], set()
    for i, reference in enumerate(references):
        names = [normalise(name) for name in reference.names]
        listed.update(names)
        known = next((by_name[name] for name in names if name in by_name), reference.weight)
        aliases = tuple(shorten(name, 300) for name in reference.aliases)
        n_found = sum(i in own for own in by_attempt)
        truths.append(Truth(shorten(reference.text, 2000), aliases, True, known, n_found))
    truths.sort(key=lambda truth: -(truth.probability or 0.0))
    others = [(text, p) for text, p in masses.items() if normalise(text) not in listed and p >= LEAST_LIKELY]
    others.sort(key=lambda item: -item[1])
    return (*truths, *(Truth(shorten(text, 2000), (), False, p, 0) for text, p in others[:MAX_LIKELY]))
