"""One question of one run with all that its files hold: marked completions, verdicts, scores, truth (layer L6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polymode import runs
from polymode.parsing import parse_answers
from polymode.runs.judged import Mark
from polymode.types import AnswerSet, Completion, Example, Reference, Span
from polymode.verifiers.text import normalise

LONGEST = 6000
"""Characters of a reasoning, a question or an answer that are shown."""
MAX_LIKELY, LEAST_LIKELY = 8, 0.005
"""Possible answers listed besides the references: so many, and only when this probable."""
SegmentKind = Literal["reasoning", "answer", "confidence", "format", "text"]
_END_THINK = "</think>"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a completion."""

    kind: SegmentKind
    """``format``: what stands between answers and confidences; ``text``: what could not be parsed."""
    text: str
    slot: int | None = None
    """Of an answer or a confidence, from 1."""
    mark: Mark | None = None
    """What became of the answer; None where it was not judged."""
    n_omitted: int = 0
    """Characters of the middle that are not shown; a segment of only these has no text."""


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
    truths = judged.labels or judged.p_correct
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
        probability=None if truths is None or mark == "repeat" else truths[i],
        note=shorten(note, 300),
    )


def _masses(example: Example) -> Mapping[str, float]:
    """Probability of each possible answer, as it is written; empty where it is not known."""
    return example.distribution or example.p_correct or {}


def _truths(example: Example, references_found: Iterable[set[int]]) -> tuple[Truth, ...]:
    masses = _masses(example)
    by_name = {normalise(text): p for text, p in masses.items()}
    by_attempt = list(references_found)
    truths, reference_names = [], set()
    for i, reference in enumerate(example.references):
        names = [normalise(name) for name in reference.names]
        reference_names.update(names)
        probability = next((by_name[name] for name in names if name in by_name), reference.weight)
        aliases = tuple(shorten(name, 300) for name in reference.aliases)
        n_found = sum(i in own for own in by_attempt)
        truths.append(Truth(shorten(reference.text, 2000), aliases, True, probability, n_found))
    truths.sort(key=lambda truth: -(truth.probability or 0.0))
    others = [(text, p) for text, p in masses.items() if normalise(text) not in reference_names and p >= LEAST_LIKELY]
    others.sort(key=lambda item: -item[1])
    return (*truths, *(Truth(shorten(text, 2000), (), False, p, 0) for text, p in others[:MAX_LIKELY]))


def segments_of(completion: str, answer_set: AnswerSet, marks: Sequence[Mark] | None) -> list[Segment]:
    """The segments in the order of the text, which they add up to; none is empty.

    Args:
        completion: the whole text.
        answer_set: what was read from it.
        marks: one per answer; None when the answers were not judged.
    """
    spans: list[tuple[Span, Segment]] = []
    for i, answer in enumerate(answer_set.answers):
        mark = None if marks is None else marks[i]
        spans.append((answer.span, Segment("answer", answer.span.slice(completion), i + 1, mark)))
        if answer.confidence_span is not None:
            spans.append(
                (answer.confidence_span, Segment("confidence", answer.confidence_span.slice(completion), i + 1, mark))
            )
    spans.sort(key=lambda item: item[0].start)
    end_of_reasoning = completion.rfind(_END_THINK)
    at = end_of_reasoning + len(_END_THINK) if end_of_reasoning >= 0 else 0
    segments = [Segment("reasoning", completion[:at])]
    between: SegmentKind = "format" if spans else "text"
    for span, segment in spans:
        segments += [Segment(between, completion[at : span.start]), segment]
        at = span.end
    segments.append(Segment(between, completion[at:]))
    return [segment for segment in segments if segment.text]


def shortened(segments: Sequence[Segment], longest: int) -> Iterator[Segment]:
    """The segments, the long ones without their middle; a segment knows how many characters were omitted before it."""
    for segment in segments:
        n_omitted = len(segment.text) - longest
        if n_omitted <= 0:
            yield segment
            continue
        head, tail = longest - longest // 3, longest // 3
        yield Segment(segment.kind, segment.text[:head], segment.slot, segment.mark)
        yield Segment(segment.kind, segment.text[-tail:], None, None, n_omitted)
