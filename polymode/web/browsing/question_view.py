"""One question of one run with all that its files hold: marked completions, verdicts, scores, truth (layer L6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polymode import runs
from polymode.parsing import parse_answers
from polymode.runs.judged import Mark
from polymode.types import Completion, Example, Reference
from polymode.verifiers.text import normalise
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
    """True probability that it is a new hit; None where it is not known."""
    note: str
    """What the mark rests on: the reference that it matches, the answer that it repeats, the fault."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion."""

    judged: runs.JudgedCompletion
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
    """None where there is no completion."""
    attempts: tuple[Attempt, ...]
    truths: tuple[Truth, ...]
    is_distribution: bool
    """Whether probabilities are known."""


def question_of(judged: Sequence[runs.JudgedCompletion], completions: Sequence[Completion | None]) -> Question:
    """Put together what both files say of a question.

    Args:
        judged: its judged completions, at least one.
        completions: the completion of each; None where completions.jsonl does not have it.
    """
    example = next((completion.example for completion in completions if completion is not None), None)
    references = () if example is None else example.references
    pairs = zip(judged, completions, strict=True)
    return Question(
        id=judged[0].id,
        text=None if example is None else example.question,
        attempts=tuple(_attempt(one, completion, references) for one, completion in pairs),
        truths=() if example is None else _truths(example, [one.references_found for one in judged]),
        is_distribution=example is not None and bool(_masses(example)),
    )


def shorten(text: str, longest: int = LONGEST) -> str:
    """``text``, or its beginning and how many characters follow."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} \N{HORIZONTAL ELLIPSIS} ({len(text) - longest:,} more characters)"


def _attempt(judged: runs.JudgedCompletion, completion: Completion | None, references: Sequence[Reference]) -> Attempt:
    answers = tuple(_answer(judged, i, references) for i in range(len(judged.answers)))
    if completion is None:
        return Attempt(judged, answers, (), "the completion is not in completions.jsonl")
    text, k = completion.text, judged.k if judged.k is not None else completion.k
    parsed = parse_answers(text, k, confidence=completion.has_confidence, finished=completion.is_finished, salvage=True)
    is_same = tuple(answer.text for answer in parsed.answers) == judged.answers
    segments = segments_of(text, parsed, [answer.mark for answer in answers] if is_same else None)
    note = "" if is_same else "the text contains other answers than those that were judged: evaluate again"
    return Attempt(judged, answers, tuple(shortened(segments, LONGEST)), note)


def _answer(judged: runs.JudgedCompletion, i: int, references: Sequence[Reference]) -> AnswerLine:
    mark, note = judged.mark(i), ""
    match, earlier = judged.matches[i], judged.duplicates[i]
    if mark == "unscored":
        note = "; ".join(judged.faults)
    elif earlier is not None:
        note = f"equal to answer {earlier + 1}"
    elif match is not None and match < len(references):
        reference = references[match].text
        note = "" if normalise(reference) == normalise(judged.answers[i]) else reference
    return AnswerLine(
        slot=i + 1,
        text=shorten(judged.answers[i]),
        mark=mark,
        confidence=judged.confidences[i],
        probability=None if judged.p_correct is None or mark == "repeat" else judged.p_correct[i],
        note=shorten(note, 300),
    )


def _masses(example: Example) -> Mapping[str, float]:
    """Probability of each possible answer, as it is written; empty where it is not known."""
    return example.distribution or example.p_correct or {}


def _truths(example: Example, references_found: Iterable[set[int]]) -> tuple[Truth, ...]:
    masses = _masses(example)
    by_name = {normalise(text): p for text, p in masses.items()}
    by_attempt = list(references_found)
    truths, listed = [], set()
    for i, reference in enumerate(example.references):
        names = [normalise(name) for name in reference.names]
        listed.update(names)
        probability = next((by_name[name] for name in names if name in by_name), reference.weight)
        aliases = tuple(shorten(name, 300) for name in reference.aliases)
        n_found = sum(i in own for own in by_attempt)
        truths.append(Truth(shorten(reference.text, 2000), aliases, True, probability, n_found))
    truths.sort(key=lambda truth: -(truth.probability or 0.0))
    others = [(text, p) for text, p in masses.items() if normalise(text) not in listed and p >= LEAST_LIKELY]
    others.sort(key=lambda item: -item[1])
    return (*truths, *(Truth(shorten(text, 2000), (), False, p, 0) for text, p in others[:MAX_LIKELY]))
