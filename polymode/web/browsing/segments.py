"""A completion cut into reasoning, answers, confidences and what stands between; together they are the text (L4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from polymode.types import AnswerSet, Span
from polymode.web.browsing.judged import Mark

SegmentKind = Literal["reasoning", "answer", "confidence", "format", "text"]
_END_THINK = "</think>"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a completion."""

    kind: SegmentKind
    """``format``: what stands between answers and confidences; ``text``: what could not be read."""
    text: str
    slot: int | None = None
    """Of an answer or a confidence, from 1."""
    mark: Mark | None = None
    """What became of the answer; None where it was not judged."""
    n_omitted: int = 0
    """Characters of the middle that are not shown; a piece of only these has no text."""


def segments_of(completion: str, answer_set: AnswerSet, marks: Sequence[Mark] | None) -> list[Segment]:
    """The pieces in the order of the text; none is empty.

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
    reasoned = completion.rfind(_END_THINK)
    at = reasoned + len(_END_THINK) if reasoned >= 0 else 0
    segments = [Segment("reasoning", completion[:at])]
    between: SegmentKind = "format" if spans else "text"
    for span, piece in spans:
        segments += [Segment(between, completion[at : span.start]), piece]
        at = span.end
    segments.append(Segment(between, completion[at:]))
    return [piece for piece in segments if piece.text]


def shortened(segments: Sequence[Segment], longest: int) -> Iterator[Segment]:
    """The pieces, each that is longer without its middle; a piece says how much was left out before it."""
    for piece in segments:
        left_out = len(piece.text) - longest
        if left_out <= 0:
            yield piece
            continue
        head, tail = longest - longest // 3, longest // 3
        yield Segment(piece.kind, piece.text[:head], piece.slot, piece.mark)
        yield Segment(piece.kind, piece.text[-tail:], None, None, left_out)
