"""The layouts of the grammar, each as one regular expression: how nearly every completion is read.

Every repetition is possessive and every text runs to the next tag of the grammar, so a match never goes back over
characters it has read: the time is linear in the length of the text, however hostile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, NamedTuple

from polymode.parsing.grammar import LINE_TEXT, NUMBER, TEXT, WHY, numbers_of
from polymode.prompts import check_k
from polymode.types import Answer, Span


class Layout(NamedTuple):
    """One order of the tags as a regular expression, and which of its groups are what."""

    pattern: re.Pattern[str]
    answers: slice
    confidences: slice | None
    rationales: slice | None = None
    """None where no answer can be followed by what speaks for it."""


@lru_cache(maxsize=128)
def layouts(k: int, confidence: bool, rationale: bool = False) -> tuple[Layout, ...]:
    """The layouts for ``k`` answers, the usual one first; with ``rationale`` what speaks for it may follow any answer.

    Those with rationales are apart, because nearly no completion has one, and reading groups that are not there takes
    time.
    """
    numbers = numbers_of(check_k(k))
    answers = [_tag_pattern(f"answer{n}", f"({TEXT})") for n in numbers]
    # White space behind a part may be any, such as the \r of a text from Windows; inside it breaks the line.
    lines = [rf"{i}\.[^\S\n]++({LINE_TEXT})[^\S\n]*+" for i in range(1, k + 1)]
    size = 1  # groups of an answer
    if rationale:
        whys = [_tag_pattern(f"why{n}", f"({TEXT})") for n in numbers]
        answers = [f"{answer}(?:{why})?+" for answer, why in zip(answers, whys, strict=True)]
        lines = [rf"{line}(?:\|[^\S\n]*+{WHY}({LINE_TEXT})[^\S\n]*+)?+" for line in lines]
        size = 2

    def layout(pattern: str, first: int, step: int, stop: int | None, confidences: slice | None) -> Layout:
        """Answers at the groups ``first``, ``first`` + ``step``, ..., each with its rationale behind it."""
        rationales = slice(first + 1, stop, step) if rationale else None
        return Layout(re.compile(pattern), slice(first, stop, step), confidences, rationales)

    n = k * size
    if not confidence:
        return (
            layout(rf"\s*+{''.join(answers)}{_ANALYSIS}?+", 0, size, n, None),
            layout(rf"\s*+{_NEXT_LINE.join(lines)}\s*+", 0, size, n, None),
        )
    confidences = [_tag_pattern(f"confidence{n}", rf"({NUMBER})\s*+") for n in numbers]
    numbered = _NEXT_LINE.join(rf"{line}\|[^\S\n]*+({NUMBER})[^\S\n]*+" for line in lines)
    behind, step = slice(size, None, size + 1), size + 1
    return (
        layout(_interleaved(answers, confidences), 0, step, None, behind),
        layout(_blocked(answers, confidences, n), 0, size, n, slice(n + 1, None)),
        layout(rf"\s*+{numbered}\s*+", 0, step, None, behind),
        layout(_interleaved(confidences, answers), 1, step, None, slice(0, None, step)),
    )


def _tag_pattern(name: str, content: str) -> str:
    return rf"<{name}>\s*+{content}</{name}>\s*+"


_ANALYSIS = f"(?:{_tag_pattern('analysis', TEXT)})"
_NEXT_LINE = r"\n\s*+"


def _interleaved(firsts: list[str], seconds: list[str]) -> str:
    pairs = "".join(part for pair in zip(firsts, seconds, strict=True) for part in pair)
    return rf"\s*+{pairs}{_ANALYSIS}?+"


def _blocked(answers: list[str], confidences: list[str], n_groups: int) -> str:
    """Analysis before the confidences or after them, not both: after them where the group before is not set."""
    after = rf"(?({n_groups + 1})|{_ANALYSIS}?+)"
    return rf"\s*+{''.join(answers)}({_ANALYSIS})?+{''.join(confidences)}{after}"


_span: Callable[[tuple[int, int]], Span] = partial(tuple.__new__, Span)  # the hot path; a third of the time of Span()


def answers_of(match: re.Match[str], layout: Layout) -> tuple[Answer, ...] | None:
    """Answers of a match; None when one of them is empty, which the grammar tag by tag puts into words."""
    texts, spans = match.groups(), match.regs[1:]
    numbers: Iterable[Any] = repeat((None, None))
    if layout.confidences is not None:
        numbers = zip(texts[layout.confidences], spans[layout.confidences])  # noqa: B905  # a span for each text
    answers: list[Answer] = []
    for raw, (start, _), (number, place) in zip(texts[layout.answers], spans[layout.answers], numbers):  # noqa: B905
        text = raw.rstrip()
        if not text:
            return None
        span = _span((start, start + len(text)))
        answers.append(Answer(text, span) if number is None else Answer(text, span, float(number), _span(place)))
    if layout.rationales is not None:
        rationales = texts[layout.rationales]
        answers = [replace(one, rationale=(why or "").strip() or None) for one, why in zip(answers, rationales)]  # noqa: B905
    return tuple(answers)
