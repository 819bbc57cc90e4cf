"""A completion split into reasoning, answers, confidences and the text between them (layer L6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from polymode.runs.judged import Mark
from polymode.types import AnswerSet, Span

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
