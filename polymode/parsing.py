"""Reads a completion into answers, confidences and where they stand (layer L1). Total: no text makes it raise.

Grammar, after the last ``</think>`` (or the whole text when there is no reasoning), because only what the model finally
says counts::

    interleaved  <answer1>text</answer1><confidence1>q</confidence1> ... K times, <analysis>..</analysis> or nothing
    blocked      <answer1>text</answer1> ... K times, <confidence1>q</confidence1> ... K times, with at most one
                 <analysis>..</analysis>, before or after the confidences

    lines        1. text | q                                             ... K lines, with nothing else

Without confidences these are the answers alone (``1. text``). K = 1 writes ``<answer>`` and ``<confidence>`` without a
number. White space is allowed around every tag; any other text outside the tags is a deviation, because text that is
neither reasoning nor answer is where a model can hide a second opinion. Inside an answer everything is text except the
tags of the grammar themselves: ``a < b`` and ``<b>`` are fine, ``<answer2>`` is not. q is a plain decimal in [0, 1]:
``0.35``, ``.35``, ``0``, ``1``, ``1.0``; a sign, an exponent, a percent sign, a decimal comma, ``nan`` or ``1.2`` are
deviations. An answer in a line holds no line break and no ``|``.

`_layouts` reads each layout with one regular expression, which is fast; `_scan` and `_scan_lines` state the grammar tag
by tag or line by line and name the first departure from it. They accept the same texts (a property test compares them),
in time linear in their length: a completion is written by a model that is rewarded for it, so it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import repeat, zip_longest
from typing import Any, NamedTuple

from polymode.prompts import check_k
from polymode.types import Answer, AnswerSet, ParseStatus, Span

MAX_COMPLETION_CHARS, MAX_ANSWER_CHARS, MAX_NUMBER_CHARS = 8_000_000, 20_000, 32
"""Longest completion that is read at all, longest answer (a program of a few hundred lines), longest confidence."""

_CLEAN = ParseStatus.CLEAN  # a global is looked up faster
_THINK, _END_THINK = "<think>", "</think>"
_A_TAG = r"</?(?:(?:answer|confidence)[0-9]*+|analysis|think)>"
_TAG = re.compile(_A_TAG)
_TEXT = rf"[^<]*+(?:(?!{_A_TAG})<[^<]*+)*+"
"""Any text without a tag of the grammar: each ``<`` is looked at once, the characters between are skipped in one go."""
_NUMBER = rf"(?:0?\.[0-9]{{1,{MAX_NUMBER_CHARS - 2}}}|0|1(?:\.0{{1,{MAX_NUMBER_CHARS - 2}}})?)"
_CONFIDENCE_SLOT = re.compile(r"<confidence[0-9]*+>[^<]*+</confidence|(?m:^\s*+[0-9]{1,2}\.[^\n|]*+\|)")
_LINE_TEXT = rf"[^<\n|]*+(?:(?!{_A_TAG})<[^<\n|]*+)*+"
_FIRST_LINE = re.compile(r"(?m)^[^\S\n]*+1[.)][^\S\n]")
_IS_NUMBER = re.compile(_NUMBER)
_IS_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def parse_answers(
    completion: str, k: int, *, confidence: bool, finished: bool = True, salvage: bool = False
) -> AnswerSet:
    """Read the answer set of a completion.

    Args:
        completion: the model's whole text, unmodified, with a ``<think>`` that its prompt opened in front
            (`polymode.prompts.with_reasoning_opened`).
        k: answers asked for, 1..MAX_K.
        confidence: whether the format asks for a confidence after each answer.
        finished: False when generation was cut off, which turns MALFORMED into TRUNCATED.
        salvage: for evaluation only: when the format was not followed, keep the last answer of each slot, up to the
            first slot without one, as PARTIAL, whatever stands around them. Their confidences are kept where all can
            be read, else none is. Nothing is kept of reasoning that is not closed, nor of a text without ``</think>``
            that was cut off: its slots may be drafts.

    Returns:
        K answers when CLEAN, 1..K when PARTIAL, none when MALFORMED or TRUNCATED, with the reason in words. Spans are
        half-open offsets into ``completion``; ``answer.span.slice(completion) == answer.text``.

    Raises:
        ConfigError: ``k`` is not a whole number in 1..MAX_K. No text raises.
    """
    if k.__class__ is not int:  # True and 3.0 would find the cached patterns of 1 and 3, which checks all whole numbers
        check_k(k)
    at = completion.rfind(_END_THINK)
    start = at + len(_END_THINK) if at >= 0 else 0
    length = len(completion)
    if length - start <= MAX_ANSWER_CHARS and length <= MAX_COMPLETION_CHARS:  # so that no answer can be too long
        for layout in _layouts(k, confidence):
            match = layout.pattern.fullmatch(completion, start)
            if match is not None:
                answers = _from_match(match, layout)
                if answers is not None:
                    return AnswerSet(_CLEAN, answers, k, confidence)
    return _parse_slowly(completion, start, k, confidence, finished, salvage)


def final_part(completion: str) -> str:
    """The part of a completion that can hold answers: after the last ``</think>``, up to reasoning opened there."""
    return completion.rpartition(_END_THINK)[2].partition(_THINK)[0]


def states_confidences(completion: str) -> bool:
    """Whether what a completion finally says (`final_part`) has a slot with a confidence, whatever is written in it."""
    return _CONFIDENCE_SLOT.search(final_part(completion)) is not None


def confidence_of(text: str) -> float | None:
    """The confidence that ``text`` states, or None where a completion with it would be malformed."""
    return float(text) if _IS_NUMBER.fullmatch(text) else None


def _parse_slowly(completion: str, start: int, k: int, confidence: bool, finished: bool, salvage: bool) -> AnswerSet:
    answers: tuple[Answer, ...] = ()
    opened = completion.find(_THINK, start)
    if len(completion) > MAX_COMPLETION_CHARS:
        reason, salvage = f"completion: {len(completion)} characters, at most {MAX_COMPLETION_CHARS} are read", False
    elif opened >= 0 and start == 0:
        reason = "reasoning: <think> is never closed by </think>"
    else:
        scan = _scan_lines if _has_lines(completion, start) else _scan
        try:
            return AnswerSet(ParseStatus.CLEAN, scan(completion, start, k, confidence), k, confidence)
        except _Deviation as exc:
            reason = str(exc)
    if salvage and (finished or (start > 0 and opened < 0)):
        end = opened if opened >= 0 else len(completion)
        answers = (_salvage_lines if _has_lines(completion, start) else _salvage)(completion, start, end, k, confidence)
    elif salvage and opened < 0 and ("<answer" in completion or _has_lines(completion, start)):
        reason += "; cut off without </think>, so what it says may be drafts"
    failed = ParseStatus.MALFORMED if finished else ParseStatus.TRUNCATED
    return AnswerSet(ParseStatus.PARTIAL if answers else failed, answers, k, confidence, reason)


class _Layout(NamedTuple):
    """One order of the tags as a regular expression, and which of its groups are answers and confidences."""

    pattern: re.Pattern[str]
    answers: slice
    confidences: slice | None


@lru_cache(maxsize=128)
def _layouts(k: int, confidence: bool) -> tuple[_Layout, ...]:
    """The grammar's layouts for ``k`` answers, the usual one first.

    Every repetition is possessive and every text runs to the next tag of the grammar, so a match never goes back over
    characters it has read: the time is linear in the length of the text, however hostile.
    """
    numbers = _numbers(check_k(k))
    answers = [_tag_pattern(f"answer{n}", f"({_TEXT})") for n in numbers]
    if not confidence:
        lines = r"\n\s*+".join(rf"{i}\.[^\S\n]++({_LINE_TEXT})" for i in range(1, k + 1))
        return (
            _Layout(re.compile(rf"\s*+{''.join(answers)}{_ANALYSIS}?+"), slice(0, k), None),
            _Layout(re.compile(rf"\s*+{lines}\s*+"), slice(0, k), None),
        )
    confidences = [_tag_pattern(f"confidence{n}", rf"({_NUMBER})\s*+") for n in numbers]
    pairs = "".join(part for pair in zip(answers, confidences, strict=True) for part in pair)
    interleaved = rf"\s*+{pairs}{_ANALYSIS}?+"
    # Analysis before the confidences or after them, not both: the second is allowed where group k + 1 is not set.
    lines = r"[^\S\n]*+\n\s*+".join(rf"{i}\.[^\S\n]++({_LINE_TEXT})\|[^\S\n]*+({_NUMBER})" for i in range(1, k + 1))
    blocked = rf"\s*+{''.join(answers)}({_ANALYSIS})?+{''.join(confidences)}(?({k + 1})|{_ANALYSIS}?+)"
    return (
        _Layout(re.compile(interleaved), slice(0, None, 2), slice(1, None, 2)),
        _Layout(re.compile(blocked), slice(0, k), slice(k + 1, None)),
        _Layout(re.compile(rf"\s*+{lines}\s*+"), slice(0, None, 2), slice(1, None, 2)),
    )


def _tag_pattern(name: str, content: str) -> str:
    return rf"<{name}>\s*+{content}</{name}>\s*+"


_ANALYSIS = f"(?:{_tag_pattern('analysis', _TEXT)})"


def _numbers(k: int) -> list[str]:
    return [""] if k == 1 else [str(i) for i in range(1, k + 1)]


_span: Callable[[tuple[int, int]], Span] = partial(tuple.__new__, Span)  # the hot path; a third of the time of Span()


def _from_match(match: re.Match[str], layout: _Layout) -> tuple[Answer, ...] | None:
    """Answers of a match; None when one of them is empty, which `_scan` puts into words."""
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
    return tuple(answers)


class _Deviation(Exception):
    """Where a completion leaves the grammar."""


class _Scanner:
    """The grammar tag by tag; its methods raise _Deviation at a departure from it."""

    def __init__(self, completion: str, start: int) -> None:
        self.completion = completion
        self._pieces = _pieces(completion, start, len(completion))
        self.gap, self.tag = next(self._pieces)  # the text up to the next tag, and that tag, "" at the end

    def content(self, name: str, where: str) -> Span:
        """Step over ``<name>text</name>``; the text's span without surrounding white space."""
        self.refuse_text(where)
        if self.tag != f"<{name}>":
            raise _Deviation(f"{where}: <{name}> expected, found {self.tag or 'the end of the text'}")
        span, closing = next(self._pieces)
        if closing != f"</{name}>":
            raise _Deviation(f"{where}: </{name}> expected, found {closing or 'the end of the text'}")
        self.gap, self.tag = next(self._pieces)
        return span

    def slot(self, name: str, n: str, problem_of: Callable[[str], str]) -> Span:
        """Step over the tags of a slot's answer or confidence."""
        span = self.content(f"{name}{n}", f"slot {n or 1}")
        if problem := problem_of(span.slice(self.completion)):
            raise _Deviation(f"slot {n or 1}: <{name}{n}> {problem}")
        return span

    def skip_analysis(self) -> bool:
        has_analysis = self.tag == "<analysis>"
        if has_analysis:
            self.content("analysis", "analysis")
        return has_analysis

    def refuse_text(self, where: str) -> None:
        if text := self.gap.slice(self.completion):
            raise _Deviation(f"{where}: text outside the tags: {text[:40]!r}")


def _pieces(completion: str, start: int, end: int) -> Iterator[tuple[Span, str]]:
    """Each tag from ``start`` to ``end``, after the stripped text in front of it; at last the end of the text, as "".

    One pass of finditer, never restarted: this is what makes the scan linear in the number of characters.
    """
    position = start
    for match in _TAG.finditer(completion, start, end):
        yield _stripped(completion, position, match.start()), match[0]
        position = match.end()
    yield _stripped(completion, position, end), ""


def _stripped(text: str, start: int, end: int) -> Span:
    raw = text[start:end]
    content = raw.strip()
    start += len(raw) - len(raw.lstrip()) if content else 0
    return Span(start, start + len(content))


def _scan(completion: str, start: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of a completion in the grammar; raises _Deviation at the first departure from it."""
    scanner, numbers = _Scanner(completion, start), _numbers(k)
    answers: list[Span] = []
    confidences: list[Span] = []
    has_analysis = is_blocked = False
    for n in numbers:
        answers.append(scanner.slot("answer", n, _answer_problem))
        if not confidence or is_blocked:
            continue
        # After the first answer the next tag tells the two layouts apart; with K = 1 only <analysis> makes it blocked.
        if not confidences and scanner.tag in ("<answer2>" if n else "<answer>", "<analysis>"):
            is_blocked = True
        else:
            confidences.append(scanner.slot("confidence", n, _number_problem))
    if is_blocked:
        has_analysis = scanner.skip_analysis()
        confidences = [scanner.slot("confidence", n, _number_problem) for n in numbers]
    if not has_analysis:
        scanner.skip_analysis()
    scanner.refuse_text("after the last slot")
    if scanner.tag:
        raise _Deviation(f"after the last slot: {scanner.tag} is one tag too many")
    return tuple(_answer(completion, *spans) for spans in zip_longest(answers, confidences))


def _has_lines(completion: str, start: int) -> bool:
    """Whether the answers stand in lines: there is a first line, and no tag of an answer."""
    return completion.find("<answer", start) < 0 and _FIRST_LINE.search(completion, start) is not None


def _scan_lines(completion: str, start: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of a completion in lines; raises _Deviation at the first departure from the grammar."""
    lines = [line for line in _lines(completion, start, len(completion)) if line.end > line.start]
    answers: list[Answer] = []
    for number, line in enumerate(lines[:k], 1):
        head = re.match(r"(\d{1,2})\.[^\S\n]+", line.slice(completion))
        if head is None or head[1] != str(number):
            raise _Deviation(f"line {number}: {number}. expected, found {line.slice(completion)[:40]!r}")
        answers.append(_line_answer(completion, Span(line.start + head.end(), line.end), number, confidence))
    if len(lines) != k:
        raise _Deviation(f"{len(lines)} lines, {k} are expected: {lines[-1].slice(completion)[:40]!r} is the last")
    return tuple(answers)


def _lines(completion: str, start: int, end: int) -> Iterator[Span]:
    """The lines between ``start`` and ``end``, each without surrounding white space."""
    while start <= end:
        stop = completion.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield _stripped(completion, start, stop)
        start = stop + 1


def _line_answer(completion: str, line: Span, number: int, confidence: bool) -> Answer:
    """The answer, and the confidence behind ``|``, of a line behind its number."""
    text = line.slice(completion)
    bar = text.find("|") if confidence else -1
    if "|" in text[bar + 1 :] or (confidence and bar < 0):
        raise _Deviation(f"line {number}: {'one' if confidence else 'no'} | expected: {text[:40]!r}")
    span = _stripped(completion, line.start, line.start + bar if confidence else line.end)
    if tag := _TAG.search(completion, line.start, line.end):
        raise _Deviation(f"line {number}: {tag[0]} inside a line")
    if problem := _answer_problem(span.slice(completion)):
        raise _Deviation(f"line {number}: the answer {problem}")
    if not confidence:
        return _answer(completion, span)
    place = _stripped(completion, line.start + bar + 1, line.end)
    if problem := _number_problem(place.slice(completion)):
        raise _Deviation(f"line {number}: the confidence {problem}")
    return _answer(completion, span, place)


def _salvage_lines(completion: str, start: int, end: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of the last block of lines that begins with 1, whatever stands around it; as `_salvage`."""
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
        except _Deviation:
            bar = line.slice(completion).find("|")
            span = _stripped(completion, line.start, line.end if bar < 0 else line.start + bar)
            if _answer_problem(span.slice(completion)) or _TAG.search(completion, line.start, line.end):
                break
            answer = _answer(completion, span)
        answers.append(answer)
    if confidence and any(answer.confidence is None for answer in answers):
        answers = [Answer(answer.text, answer.span) for answer in answers]
    return tuple(answers)


def _answer(completion: str, span: Span, number: Span | None = None) -> Answer:
    return Answer(span.slice(completion), span, float(number.slice(completion)) if number else None, number)


def _answer_problem(text: str, limit: int = MAX_ANSWER_CHARS) -> str:
    if not text:
        return "is empty"
    return f"has {len(text)} characters, at most {limit} are allowed" if len(text) > limit else ""


def _number_problem(text: str) -> str:
    if problem := _answer_problem(text, MAX_NUMBER_CHARS):
        return problem
    if _IS_NUMBER.fullmatch(text):
        return ""
    if _IS_DECIMAL.fullmatch(text) and not 0 <= float(text) <= 1:
        return f"is {text}, outside 0 to 1"
    return f"is {text!r}, not a plain decimal from 0 to 1"


def _salvage(completion: str, start: int, end: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The last answer of each slot between ``start`` and ``end``, up to the first slot without one.

    A confidence belongs to the answer that it follows. One that is missing or no plain decimal leaves the answers as
    they are and the whole set without confidences: calibration measured on the slots that happen to be readable would
    be that of other sets.
    """
    last: dict[str, Span] = {}  # of every <name>text</name> without a tag inside, by opening tag
    opening = ""
    for span, tag in _pieces(completion, start, end):
        if opening and tag == f"</{opening[1:]}" and span.end > span.start:
            last[opening] = span
        opening = tag
    answers: list[Span] = []
    confidences: list[Span] = []
    for n in _numbers(k):
        span = last.get(f"<answer{n}>")
        if span is None or _answer_problem(span.slice(completion)):
            break
        answers.append(span)
        number = last.get(f"<confidence{n}>") if confidence else None
        if number is not None and number.start > span.end and not _number_problem(number.slice(completion)):
            confidences.append(number)
    if len(confidences) < len(answers):
        confidences = []
    return tuple(_answer(completion, *spans) for spans in zip_longest(answers, confidences))
