"""Which part of a completion a token belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymode.types import AnswerSet


def token_parts(answers: AnswerSet, text: str, starts: Sequence[int], k: int) -> NDArray[np.int64]:
    """Part of each token, shape (T,): 0 outside the slots, i for answer i in 1..K, K + i for confidence i.

    A slot reaches from the ``<`` of its opening tag to the ``>`` of its closing tag. A token across a border belongs
    where it starts.

    Args:
        answers: what was read from ``text``; without answers every token is of the whole.
        text: the completion that the spans count in.
        starts: first character of each token, not decreasing.
        k: width of the advantages' K, at least the number of answers.
    """
    part_T = np.zeros(len(starts), dtype=np.int64)
    for i, answer in enumerate(answers.answers, 1):
        for span, part in ((answer.span, i), (answer.confidence_span, k + i)):
            if span is not None:
                slot = text.rfind("<", 0, span.start), text.index(">", text.index("<", span.end)) + 1
                first, last = np.searchsorted(starts, slot)
                part_T[first:last] = part
    return part_T
