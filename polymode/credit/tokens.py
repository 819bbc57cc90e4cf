"""Which part of a completion a token belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymode.types import AnswerSet, Span


def token_parts(answers: AnswerSet, text: str, starts: Sequence[int], k: int) -> NDArray[np.int64]:
    """Part of each token, shape (T,): 0 outside the slots, i for answer i in 1..K, K + i for confidence i.

    In tags a slot reaches from the ``<`` of its opening tag to the ``>`` of its closing tag. In lines an answer reaches
    from the start of its line to the ``|``, a confidence from there to the end of the line and its line break. A token
    across a border belongs where it starts.

    Args:
        answers: what was read from ``text``; without answers every token is of the whole.
        text: the completion that the spans count in.
        starts: first character of each token, not decreasing.
        k: width of the advantages' K, at least the number of answers.
    """
    part_T = np.zeros(len(starts), dtype=np.int64)
    for i, answer in enumerate(answers.answers, 1):
        slot_of = _in_tags if text[: answer.span.start].rstrip().endswith(">") else _in_lines
        for span, part in ((answer.span, i), (answer.confidence_span, k + i)):
            if span is not None:
                first, last = np.searchsorted(starts, slot_of(text, span))
                part_T[first:last] = part
    return part_T


def _in_tags(text: str, span: Span) -> tuple[int, int]:
    return text.rfind("<", 0, span.start), text.index(">", text.index("<", span.end)) + 1


def _in_lines(text: str, span: Span) -> tuple[int, int]:
    line, bar = text.rfind("\n", 0, span.start) + 1, text.rfind("|", 0, span.start)
    ends = [end for end in (text.find("|", span.end), text.find("\n", span.end) + 1) if end > 0]
    return max(line, bar), min(ends, default=len(text))
