"""What both readers of the grammar share: its pieces as regular expressions, its limits, and what a part may hold."""

from __future__ import annotations

import re

from polymode.types import Answer, Span

MAX_COMPLETION_CHARS, MAX_ANSWER_CHARS, MAX_NUMBER_CHARS = 8_000_000, 20_000, 32
"""Longest completion that is read at all, longest answer (a program of a few hundred lines), longest confidence."""
THINK, END_THINK = "<think>", "</think>"
WHY = "why:"
"""Begins the part of a line that says what speaks for its answer."""

A_TAG = r"</?(?:(?:answer|confidence|why)[0-9]*+|analysis|think)>"
TAG = re.compile(A_TAG)
TEXT = rf"[^<]*+(?:(?!{A_TAG})<[^<]*+)*+"
"""Any text without a tag of the grammar: each ``<`` is looked at once, the characters between are skipped in one go."""
LINE_BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""Of a character class: what ends a line for some reader of it, as for `str.splitlines`."""
LINE_BREAK = re.compile(f"[{LINE_BREAKS}]")
_NO_LINE_TEXT = re.compile(rf"[{LINE_BREAKS}|]")
LINE_TEXT = rf"[^<|{LINE_BREAKS}]*+(?:(?!{A_TAG})<[^<|{LINE_BREAKS}]*+)*+"
NUMBER = rf"(?:0?\.[0-9]{{1,{MAX_NUMBER_CHARS - 2}}}|0|1(?:\.0{{1,{MAX_NUMBER_CHARS - 2}}})?)"
_IS_NUMBER = re.compile(NUMBER)
_IS_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_WHY_PART = rf"\|[^\S\n]*+{WHY}[^\n|]*+"
_CONFIDENCE_SLOT = re.compile(
    r"<confidence[0-9]*+>[^<]*+</confidence"
    rf"|(?m:^\s*+[0-9]{{1,2}}[.)][^\n|]*+(?:{_WHY_PART})?+\|)"
)


class Deviation(Exception):
    """Where a completion leaves the grammar."""


def final_part(completion: str) -> str:
    """The part of a completion that can hold answers: after the last ``</think>``, up to reasoning opened there."""
    return completion.rpartition(END_THINK)[2].partition(THINK)[0]


def states_confidences(completion: str) -> bool:
    """Whether what a completion finally says (`final_part`) has a slot with a confidence, whatever is written in it."""
    return _CONFIDENCE_SLOT.search(final_part(completion)) is not None


def confidence_of(text: str) -> float | None:
    """The confidence that ``text`` states, or None where a completion with it would be malformed."""
    return float(text) if _IS_NUMBER.fullmatch(text) else None


def numbers_of(k: int) -> list[str]:
    """What the names of the tags of each slot end with."""
    return [""] if k == 1 else [str(i) for i in range(1, k + 1)]


def fits_line(text: str) -> bool:
    """Whether a part of a line can hold the text: it has no line break and no ``|``."""
    return _NO_LINE_TEXT.search(text) is None


def stripped(text: str, start: int, end: int) -> Span:
    """The part of ``text`` from ``start`` to ``end`` without surrounding white space."""
    raw = text[start:end]
    content = raw.strip()
    start += len(raw) - len(raw.lstrip()) if content else 0
    return Span(start, start + len(content))


def answer_at(completion: str, span: Span, number: Span | None = None, rationale: Span | None = None) -> Answer:
    """The answer that stands at a span, with its confidence and what speaks for it."""
    q = float(number.slice(completion)) if number else None
    why = rationale.slice(completion) if rationale else ""
    return Answer(span.slice(completion), span, q, number, why or None)


def length_problem(text: str, limit: int = MAX_ANSWER_CHARS) -> str:
    """Why a text is too long; empty when it is not."""
    return f"has {len(text)} characters, at most {limit} are allowed" if len(text) > limit else ""


def answer_problem(text: str, limit: int = MAX_ANSWER_CHARS) -> str:
    """Why a text is no answer; empty when it is one."""
    return length_problem(text, limit) if text else "is empty"


def number_problem(text: str) -> str:
    """Why a text is no confidence; empty when it is one."""
    if problem := answer_problem(text, MAX_NUMBER_CHARS):
        return problem
    if _IS_NUMBER.fullmatch(text):
        return ""
    if _IS_DECIMAL.fullmatch(text) and not 0 <= float(text) <= 1:
        return f"is {text}, outside 0 to 1"
    return f"is {text!r}, not a plain decimal from 0 to 1"
