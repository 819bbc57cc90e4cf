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
def layouts(k: int, confidence: bool) -> tuple[Layout, ...]:
    """The layouts for ``k`` answers without a word about what speaks for them, the usual one first."""
    numbers = numbers_of(check_k(k))
    answers = [_tag_pattern(f"answer{n}", f"({TEXT})") for n in numbers]
    if not confidence:
        lines = r"\n\s*+".join(rf"{i}\.[^\S\n]++({LINE_TEXT})" for i in range(1, k + 1))
        return (
            Layout(re.compile(rf"\s*+{''.join(answers)}{_ANALYSIS}?+"), slice(0, k), None),
            Layout(re.compile(rf"\s*+{lines}\s*+"), slice(0, k), None),
        )
    confidences = _confidences(numbers)
    lines = r"[^\S\n]*+\n\s*+".join(rf"{i}\.[^\S\n]++({LINE_TEXT}){_LINE_NUMBER}" for i in range(1, k + 1))
    return (
        Layout(re.compile(_interleaved(answers, confidences)), slice(0, None, 2), slice(1, None, 2)),
        Layout(re.compile(_blocked(answers, confidences, k)), slice(0, k), slice(k + 1, None)),
        Layout(re.compile(rf"\s*+{lines}\s*+"), slice(0, None, 2), slice(1, None, 2)),
        Layout(re.compile(_interleaved(confidences, answers)), slice(1, None, 2), slice(0, None, 2)),
    )


@lru_cache(maxsize=128)
def layouts_with_rationales(k: int, confidence: bool) -> tuple[Layout, ...]:
    """The same layouts where any answer may be followed by what speaks for it.

    They are apart, because nearly no completion has one, and reading groups that are not there takes time.
    """
    numbers = numbers_of(check_k(k))
    whys = [_tag_pattern(f"why{n}", f"({TEXT})") for n in numbers]
    answers = [f"{_tag_pattern(f'answer{n}', f'({TEXT})')}(?:{why})?+" for n, why in zip(numbers, whys, strict=True)]
    why = rf"(?:\|[^\S\n]*+{WHY}({LINE_TEXT}))?+"
    answer_lines = [rf"{i}\.[^\S\n]++({LINE_TEXT}){why}" for i in range(1, k + 1)]
    if not confidence:
        lines = r"\n\s*+".join(answer_lines)
        groups = slice(0, 2 * k, 2), None, slice(1, 2 * k, 2)
        return (
            Layout(re.compile(rf"\s*+{''.join(answers)}{_ANALYSIS}?+"), *groups),
            Layout(re.compile(rf"\s*+{lines}\s*+"), *groups),
        )
    confidences = _confidences(numbers)
    lines = r"[^\S\n]*+\n\s*+".join(line + _LINE_NUMBER for line in answer_lines)
    triples = slice(0, None, 3), slice(2, None, 3), slice(1, None, 3)
    blocks = slice(0, 2 * k, 2), slice(2 * k + 1, None), slice(1, 2 * k, 2)
    return (
        Layout(re.compile(_interleaved(answers, confidences)), *triples),
        Layout(re.compile(_blocked(answers, confidences, 2 * k)), *blocks),
        Layout(re.compile(rf"\s*+{lines}\s*+"), *triples),
        Layout(re.compile(_interleaved(confidences, answers)), slice(1, None, 3), slice(0, None, 3), slice(2, None, 3)),
    )


def _tag_pattern(name: str, content: str) -> str:
    return rf"<{name}>\s*+{content}</{name}>\s*+"


_ANALYSIS = f"(?:{_tag_pattern('analysis', TEXT)})"
_LINE_NUMBER = rf"\|[^\S\n]*+({NUMBER})"


def _confidences(numbers: list[str]) -> list[str]:
    return [_tag_pattern(f"confidence{n}", rf"({NUMBER})\s*+") for n in numbers]


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
