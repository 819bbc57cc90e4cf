"""The grammar of lines, line by line: what it accepts, the first departure from it in words, what can be salvaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from polymode.parsing.grammar import (
    LINE_BREAK,
    TAG,
    WHY,
    Deviation,
    answer_at,
    answer_problem,
    length_problem,
    number_problem,
    stripped,
)
from polymode.types import Answer, Span

_FIRST_LINE = re.compile(r"(?m)^[^\S\n]*+1[.)][^\S\n]")


def has_lines(completion: str, start: int) -> bool:
    """Whether the answers stand in lines: there is a first line, and no tag of an answer."""
    return completion.find("<answer", start) < 0 and _FIRST_LINE.search(completion, start) is not None


def ends_in_a_line(completion: str, start: int) -> bool:
    """Whether the answers stand in lines and no line break ends the last of them.

    Where such a completion was cut off, nobody knows whether its last part, a name or a number, would have gone on.
    """
    return has_lines(completion, start) and "\n" not in completion[len(completion.rstrip()) :]


def scan_lines(completion: str, start: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of a completion in lines; raises Deviation at the first departure from the grammar."""
    lines = [line for line in _lines(completion, start, len(completion)) if line.end > line.start]
    answers: list[Answer] = []
    for number, line in enumerate(lines[:k], 1):
        head = re.match(r"(\d{1,2})\.[^\S\n]+", line.slice(completion))
        if head is None or head[1] != str(number):
            raise Deviation(f"line {number}: {number}. expected, found {line.slice(completion)[:40]!r}")
        answers.append(_line_answer(completion, Span(line.start + head.end(), line.end), number, confidence))
    if len(lines) != k:
        raise Deviation(f"{len(lines)} lines, {k} are expected: {lines[-1].slice(completion)[:40]!r} is the last")
    return tuple(answers)


def salvaged_lines(completion: str, start: int, end: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of the last block of lines that begins with 1, whatever stands around it; as `salvaged_tags`."""
    block: list[Span] = []
    for line in _lines(completion, start, end):
        head = re.match(r"(\d{1,2})[.)][^\S\n]+", line.slice(completion))
        if head is None:
            continue
        if head[1] == "1":
            block = []
        if head[1] == str(len(block) + 1):
            block.append(Span(line.start + head.end(), line.end))
    answers: list[Answer] = []
    for number, line in enumerate(block[:k], 1):
        try:
            answer = _line_answer(completion, line, number, confidence)
        except Deviation:
            bar = line.slice(completion).find("|")
            span = stripped(completion, line.start, line.end if bar < 0 else line.start + bar)
            text = span.slice(completion)
            if answer_problem(text) or LINE_BREAK.search(text) or TAG.search(completion, line.start, line.end):
                break
            answer = answer_at(completion, span)
        answers.append(answer)
    if confidence and any(answer.confidence is None for answer in answers):
        answers = [Answer(answer.text, answer.span) for answer in answers]
    return tuple(replace(answer, rationale=None) for answer in answers)


def _line_answer(completion: str, line: Span, number: int, confidence: bool) -> Answer:
    """The answer of a line behind its number, with what stands behind each ``|``."""
    parts = list(_parts(completion, line))
    rationale = None
    if len(parts) == 2 + confidence and parts[1].slice(completion).startswith(WHY):
        why = parts.pop(1)
        rationale = stripped(completion, why.start + len(WHY), why.end)
    if len(parts) != 1 + confidence:
        text = line.slice(completion)
        raise Deviation(f"line {number}: {'one' if confidence else 'no'} | expected: {text[:40]!r}")
    if tag := TAG.search(completion, line.start, line.end):
        raise Deviation(f"line {number}: {tag[0]} inside a line")
    if LINE_BREAK.search("".join(one.slice(completion) for one in (*parts, *([rationale] if rationale else [])))):
        raise Deviation(f"line {number}: another line break than \\n inside a line")
    if problem := answer_problem(parts[0].slice(completion)):
        raise Deviation(f"line {number}: the answer {problem}")
    if rationale is not None and (problem := length_problem(rationale.slice(completion))):
        raise Deviation(f"line {number}: what speaks for the answer {problem}")
    if confidence and (problem := number_problem(parts[1].slice(completion))):
        raise Deviation(f"line {number}: the confidence {problem}")
    return answer_at(completion, parts[0], parts[1] if confidence else None, rationale)


def _parts(completion: str, line: Span) -> Iterator[Span]:
    """What stands between the ``|`` of a line."""
    start = line.start
    while True:
        bar = completion.find("|", start, line.end)
        yield stripped(completion, start, line.end if bar < 0 else bar)
        if bar < 0:
            return
        start = bar + 1


def _lines(completion: str, start: int, end: int) -> Iterator[Span]:
    """The lines between ``start`` and ``end``, each without surrounding white space."""
    while start <= end:
        stop = completion.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield stripped(completion, start, stop)
        start = stop + 1
