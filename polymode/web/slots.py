"""Slots of a completion as it is written (layer L6): each answer with its confidence, once both are complete.

They are what the model wrote, before equal answers are put together, before the policy's map and its decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pydantic import BaseModel, Field

from polymode.parsing import final_part, parse_answers
from polymode.types import Answer, AnswerSet

_END = re.compile(r"</confidence\d*>|\n")
"""What ends a slot, in tags or lines."""
_END_FIRST = re.compile(r"</answer\d*>")
"""What ends a slot that begins with its confidence."""


class Slot(BaseModel):
    """An answer as the model wrote it."""

    completion: int = Field(description="number of the completion, from 1", ge=1)
    slot: int = Field(description="its place in the completion, from 1", ge=1)
    text: str
    confidence: float | None = Field(description="as stated; null where it cannot be read", ge=0, le=1)


OnSlot = Callable[[Slot], object]


class SlotReader:
    """Tells each slot once, in its order.

    Args:
        k: answers of each completion.
        n: completions.
        on_slot: called with each slot.
    """

    def __init__(self, k: int, n: int, on_slot: OnSlot) -> None:
        self._k, self._on_slot, self._next = k, on_slot, [0] * n

    def read(self, sample: int, text: str) -> None:
        """The text of a completion so far; called again as it grows."""
        self._tell(sample, written(text, self._k))

    def finish(self, sets: Sequence[AnswerSet]) -> None:
        """The completions as they were read in the end: what has not been told of them."""
        for sample, answer_set in enumerate(sets):
            self._tell(sample, answer_set.answers)

    def _tell(self, sample: int, answers: Sequence[Answer]) -> None:
        first = self._next[sample]
        for number, answer in enumerate(answers[first:], first + 1):
            self._next[sample] = number
            self._on_slot(Slot(completion=sample + 1, slot=number, text=answer.text, confidence=answer.confidence))


def written(text: str, k: int) -> tuple[Answer, ...]:
    """The slots that are complete in the beginning of a completion; none while it reasons."""
    answer, confidence = (final_part(text).find(tag) for tag in ("<answer", "<confidence"))
    is_first = confidence >= 0 and not 0 <= answer < confidence
    end = max((match.end() for match in (_END_FIRST if is_first else _END).finditer(text)), default=0)
    if not end:
        return ()
    answers = parse_answers(text[:end], k, confidence=True, finished=True, salvage=True).answers
    return answers if all(answer.confidence is not None for answer in answers) else ()
