"""One line of completions.jsonl: its fields, and the question and completion that it says (layer L3).

What is wrong with a line is worded here, for the reader of a file and for the index of a large one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from polymode.distributions import SUM_TOLERANCE, with_target
from polymode.errors import RecordError
from polymode.parsing import final_part, states_confidences
from polymode.prompts import check_k, reasoning_opened_by, with_reasoning_opened
from polymode.references import check_references, reference_from
from polymode.runs.files import SCHEMA
from polymode.runs.judged import Count, Share
from polymode.types import Completion, Example, Target
from polymode.verifiers import QuestionVerifier, Verifier

FIX = "correct the line"
SHARED = ("question", "references", "exclusive", "ask", "distribution", "target", "p_correct")
"""Fields that samples of one question share."""


def _sums_to_one(masses: dict[str, float] | None) -> dict[str, float] | None:
    if masses is not None and abs((total := math.fsum(masses.values())) - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"distribution: probabilities sum to {total:.6g}; they must sum to 1, with the missing answers added"
        )
    return masses


def _is_name(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise ValueError(f"id = {value!r:.80} is not allowed: give a string or a whole number")
    return value


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of a line."""

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)

    completion: str
    references: list[Any]
    """None of them: the question has no right answer."""
    question: str = ""
    id: Annotated[Any, AfterValidator(_is_name)] = None
    k: int | None = None
    confidence: bool | None = None
    prompt: Any = None
    sample: Count | None = None
    n_tokens: Count | None = None
    finished: bool | None = None
    exclusive: bool | None = None
    distribution: Annotated[dict[str, Share] | None, AfterValidator(_sums_to_one)] = None
    target: Target | None = None
    p_correct: dict[str, Share] | None = None
    confidences: list[Share] | None = None
    confidence_mass: list[Share] | None = None
    ask: str | None = None
    meta: dict[str, Any] | None = None
    schema: Annotated[int, Field(ge=0, le=SCHEMA)] = 0


LINES = TypeAdapter(Row)
"""Checks a line while it is parsed."""


shared_fields: Callable[[Row], tuple[Any, ...]] = attrgetter(*SHARED)
"""What samples of one question share."""


def example_of(
    row: Row, id_: str, verifier: Verifier | QuestionVerifier | None = None, target: Target | None = None
) -> Example:
    """The question of a line; raises RecordError for references that cannot be used, or not be told apart."""
    references = tuple(map(reference_from, row.references))
    if verifier is not None:
        check_references(references, verifier)
    example = Example(
        id=id_,
        question=row.question,
        references=references,
        distribution=row.distribution,
        p_correct=row.p_correct,
        exclusive=bool(row.exclusive),
        ask=row.ask or "",
        meta=row.meta or {},
    )
    return with_target(example, target or row.target or "verdict")


def k_of(row: Row, k: int | None) -> int:
    """The answers asked for by a line; raises as `completion_from`."""
    k = row.k if k is None else k
    if k is None:
        raise RecordError('k is missing: add "k", the number of answers asked for, or give it as an option (--k)')
    if row.confidences is not None and len(row.confidences) != k:
        raise RecordError(f"confidences = {row.confidences} is not allowed: give k = {k} numbers, one per slot")
    return check_k(k)


def text_of(row: Row) -> str:
    """The text of a line, after the ``<think>`` that its prompt may have opened."""
    return with_reasoning_opened(row.completion, "" if row.prompt is None else reasoning_opened_by(row.prompt))


def completion_from(
    row: Row, example: Example, sample: int, *, k: int | None = None, confidence: bool | None = None
) -> Completion:
    """The completion of a line; raises RecordError for a k or confidences that are not there or not allowed."""
    k = k_of(row, k)
    text = text_of(row)
    has_confidence = row.confidence if confidence is None else confidence
    return Completion(
        example=example,
        text=text,
        k=k,
        has_confidence=states_confidences(text) if has_confidence is None else has_confidence,
        sample=sample,
        n_tokens=row.n_tokens,
        is_finished=row.finished is not False,
        confidences=None if row.confidences is None else tuple(row.confidences),
        confidence_mass=None if row.confidence_mass is None else tuple(row.confidence_mass),
    )


@dataclass(slots=True)
class Guesses:
    """Lines with answers that do not say whether confidences were asked for, so that their text decides."""

    n_and_first: dict[bool, tuple[int, int]] = field(default_factory=lambda: {False: (0, 0), True: (0, 0)})
    """By whether they state some: how many, and the number of the first."""

    def add(self, row: Row, confidence: bool | None, line: int) -> None:
        """Count a line, if it is one; ``confidence`` is what an option says of all."""
        if confidence is None and row.confidence is None and "<answer" in final_part(text := text_of(row)):
            self._count(states_confidences(text), 1, line)

    def add_all(self, later: Guesses) -> None:
        """Count the lines of a later part of the file."""
        for is_stated, (n, first) in later.n_and_first.items():
            self._count(is_stated, n, first)

    def _count(self, is_stated: bool, n: int, first: int) -> None:
        before, earliest = self.n_and_first[is_stated]
        self.n_and_first[is_stated] = before + n, earliest or first

    def difference(self) -> str:
        """How these lines differ; "" when they do not."""
        if not all(n for n, _ in self.n_and_first.values()):
            return ""
        counts = {is_stated: f"{n:,} (first: line {first})" for is_stated, (n, first) in self.n_and_first.items()}
        return (
            f"confidences are stated in {counts[True]} of the lines without the field 'confidence' and not in "
            f'{counts[False]}; each line is read as it is. Add "confidence": true or false to the lines, or give '
            "--confidence yes or no for all"
        )


def other_question(id_: str, first: int) -> str:
    """What is wrong with a line whose id is that of another question, which begins in line ``first``."""
    return (
        f"id {id_!r} stands in line {first} with another question, references, distribution or target; "
        "lines share an id only when they are samples of one question"
    )


def repeated_sample(id_: str, sample: int, line: int) -> str:
    """What is wrong with a line whose sample stands in an earlier one."""
    return f"sample {sample} of id {id_!r} stands in line {line} already; number the samples of a question"
