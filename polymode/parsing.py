"""Reads a completion into answers, confidences and where they stand (layer L1). Total: no text makes it raise.

Grammar, after the last ``</think>`` (or the whole text when there is no reasoning)::

    interleaved  <answer1>text</answer1><confidence1>q</confidence1> ... K times, <analysis>..</analysis> or nothing
    blocked      <answer1>text</answer1> ... K times, <confidence1>q</confidence1> ... K times, with at most one
                 <analysis>..</analysis>, before or after the confidences

Without confidences both are the answers alone. K = 1 writes ``<answer>`` and ``<confidence>`` without a number. White
space is allowed around every tag; any other text outside the tags is a deviation, because text that is neither
reasoning nor answer is where a model can hide a second opinion. Inside an answer everything is text except the tags of
the grammar themselves: ``a < b`` and ``<b>`` are fine, ``<answer2>`` is not. q is a plain decimal in [0, 1]: ``0.35``,
``.35``, ``0``, ``1``, ``1.0``; a sign, an exponent, a percent sign, a decimal comma, ``nan`` or ``1.2`` are deviations.

`_layouts` reads both layouts with one regular expression each, which is fast; `_scan` states the grammar tag by tag and
names the first departure from it. They accept the same texts. Both take time linear in the length of the text: a
completion is written by a model that is rewarded for it, so it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, NamedTuple

from polymode.prompts import check_k
from polymode.types import Answer, AnswerSet, ParseStatus, Span

MAX_COMPLETION_CHARS = 8_000_000
"""Longest completion that is read at all."""
MAX_ANSWER_CHARS = 20_000
"""Longest answer, room for a program of a few hundred lines."""
MAX_NUMBER_CHARS = 32
"""Longest confidence, digits and point."""

_CLEAN = ParseStatus.CLEAN
_THINK, _END_THINK = "<think>", "</think>"
_A_TAG = r"</?(?:(?:answer|confidence)[0-9]*+|analysis|think)>"
_TAG = re.compile(_A_TAG)
_TEXT = rf"[^<]*+(?:(?!{_A_TAG})<[^<]*+)*+"
"""Any text without a tag of the grammar: each ``<`` is looked at once, the characters between are skipped in one go."""
_NUMBER = rf"(?:0?\.[0-9]{{1,{MAX_NUMBER_CHARS - 2}}}|0|1(?:\.0{{1,{MAX_NUMBER_CHARS - 2}}})?)"
_IS_NUMBER = re.compile(_NUMBER)
_IS_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def parse_answers(
    completion: str, k: int, *, confidence: bool, finished: bool = True, salvage: bool = False
) -> AnswerSet:
    """Read the answer set of a completion.

    Args:
        completion: the model's whole text, unmodified.
        k: answers asked for, 1..MAX_K.
        confidence: whether the format asks for a confidence after each answer.
        finished: False when generation was cut off, which turns MALFORMED into TRUNCATED.
        salvage: for evaluation only: when the format was not followed, keep the longest usable prefix of slots (answer
            and, where asked for, valid confidence, in slot order, whatever stands between them) as PARTIAL. A
            completion whose reasoning never ends has none.

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


def _parse_slowly(completion: str, start: int, k: int, confidence: bool, finished: bool, salvage: bool) -> AnswerSet:
    answers: list[Answer] = []
    if len(completion) > MAX_COMPLETION_CHARS:
        reason = f"completion: {len(completion)} characters, at most {MAX_COMPLETION_CHARS} are read"
    elif start == 0 and _THINK in completion:
        reason = "reasoning: <think> is never closed by </think>"
    else:
        try:
            return AnswerSet(ParseStatus.CLEAN, _scan(completion, start, k, confidence), k, confidence)
        except _Deviation as exc:
            reason = exc.reason
        if salvage:
            answers = _salvage(completion, start, k, confidence)
    failed = ParseStatus.MALFORMED if finished else ParseStatus.TRUNCATED
    return AnswerSet(ParseStatus.PARTIAL if answers else failed, tuple(answers), k, confidence, reason)


class _Layout(NamedTuple):
    """One order of the tags as a regular expression, and which of its groups hold what."""

    pattern: re.Pattern[str]
    answers: slice
    confidences: slice | None
    """None when the format has no confidences."""


@lru_cache(maxsize=128)
def _layouts(k: int, confidence: bool) -> tuple[_Layout, ...]:
    """The grammar's layouts for ``k`` answers, the usual one first.

    Every repetition is possessive and every text runs to the next tag of the grammar, so a match never goes back over
    characters it has read: the time is linear in the length of the text, however hostile. What these patterns read as
    CLEAN, `_scan` reads in the same way; a property test compares the two.
    """
    numbers = _numbers(check_k(k))
    answers = [_tag_pattern(f"answer{n}", f"({_TEXT})") for n in numbers]
    if not confidence:
        return (_Layout(re.compile(rf"\s*+{''.join(answers)}{_ANALYSIS}?+"), slice(0, k), None),)
    confidences = [_tag_pattern(f"confidence{n}", rf"({_NUMBER})\s*+") for n in numbers]
    pairs = "".join(part for pair in zip(answers, confidences, strict=True) for part in pair)
    interleaved = rf"\s*+{pairs}{_ANALYSIS}?+"
    # Analysis before the confidences or after them, not both: the second is allowed where group k + 1 is not set.
    blocked = rf"\s*+{''.join(answers)}({_ANALYSIS})?+{''.join(confidences)}(?({k + 1})|{_ANALYSIS}?+)"
    return (
        _Layout(re.compile(interleaved), slice(0, None, 2), slice(1, None, 2)),
        _Layout(re.compile(blocked), slice(0, k), slice(k + 1, None)),
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

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Tags:
    """The tags of a completion from ``start`` on, read one at a time, each with the text in front of it."""

    def __init__(self, completion: str, start: int) -> None:
        self.completion = completion
        self.position = start
        # One pass of finditer, never restarted: this is what makes the scan linear in the number of characters.
        self._matches: Iterator[re.Match[str]] = _TAG.finditer(completion, start)
        self._ahead: re.Match[str] | None = next(self._matches, None)

    @property
    def ahead(self) -> str:
        """The next tag, empty at the end of the text."""
        return self._ahead[0] if self._ahead else ""

    def text_before(self) -> Span:
        """From the current position to the next tag or the end."""
        return Span(self.position, self._ahead.start() if self._ahead else len(self.completion))

    def step(self) -> None:
        """Move behind the next tag."""
        if self._ahead is not None:
            self.position = self._ahead.end()
            self._ahead = next(self._matches, None)


def _scan(completion: str, start: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The grammar, tag by tag; raises _Deviation at the first departure from it."""
    tags, numbers = _Tags(completion, start), _numbers(k)
    answers: list[Span] = []
    confidences: list[Span] = []
    has_analysis = is_blocked = False
    for n in numbers:
        answers.append(_answer_span(tags, n))
        if not confidence or is_blocked:
            continue
        # After the first answer the next tag tells the two layouts apart; with K = 1 only <analysis> makes it blocked.
        if not confidences and tags.ahead in (f"<answer{_after(n)}>", "<analysis>"):
            is_blocked = True
        else:
            confidences.append(_confidence_span(tags, n))
    if is_blocked:
        has_analysis = _skip_analysis(tags)
        confidences = [_confidence_span(tags, n) for n in numbers]
    if not has_analysis:
        _skip_analysis(tags)
    _refuse_stray(tags, "after the last slot")
    if tags.ahead:
        raise _Deviation(f"after the last slot: {tags.ahead} is one tag too many")
    if not confidence:
        return tuple(Answer(span.slice(completion), span) for span in answers)
    return tuple(
        Answer(span.slice(completion), span, float(number.slice(completion)), number)
        for span, number in zip(answers, confidences, strict=True)
    )


def _after(n: str) -> str:
    return str(int(n) + 1) if n else ""


def _answer_span(tags: _Tags, n: str) -> Span:
    span = _content(tags, f"answer{n}", _slot(n))
    if span.start == span.end:
        raise _Deviation(f"{_slot(n)}: <answer{n}> is empty")
    if span.end - span.start > MAX_ANSWER_CHARS:
        raise _Deviation(
            f"{_slot(n)}: <answer{n}> has {span.end - span.start} characters, at most {MAX_ANSWER_CHARS} are allowed"
        )
    return span


def _confidence_span(tags: _Tags, n: str) -> Span:
    span = _content(tags, f"confidence{n}", _slot(n))
    problem = _number_problem(tags.completion, span)
    if problem:
        raise _Deviation(f"{_slot(n)}: <confidence{n}> {problem}")
    return span


def _number_problem(completion: str, span: Span) -> str:
    length = span.end - span.start
    if length == 0:
        return "is empty"
    if length > MAX_NUMBER_CHARS:
        return f"has {length} characters, at most {MAX_NUMBER_CHARS} are allowed"
    text = span.slice(completion)
    if _IS_NUMBER.fullmatch(text):
        return ""
    if _IS_DECIMAL.fullmatch(text) and not 0 <= float(text) <= 1:
        return f"is {text}, outside 0 to 1"
    return f"is {text!r}, not a plain decimal from 0 to 1"


def _skip_analysis(tags: _Tags) -> bool:
    if tags.ahead != "<analysis>":
        return False
    _content(tags, "analysis", "analysis")
    return True


def _slot(n: str) -> str:
    return f"slot {n or 1}"


def _content(tags: _Tags, name: str, where: str) -> Span:
    """Step over ``<name>text</name>``; the text's span without surrounding white space."""
    _refuse_stray(tags, where)
    if tags.ahead != f"<{name}>":
        raise _Deviation(f"{where}: <{name}> expected, found {tags.ahead or 'the end of the text'}")
    tags.step()
    span = tags.text_before()
    if tags.ahead != f"</{name}>":
        raise _Deviation(f"{where}: </{name}> expected, found {tags.ahead or 'the end of the text'}")
    tags.step()
    return _stripped(tags.completion, span)


def _refuse_stray(tags: _Tags, where: str) -> None:
    span = _stripped(tags.completion, tags.text_before())
    if span.start != span.end:
        excerpt = tags.completion[span.start : min(span.end, span.start + 40)]
        raise _Deviation(f"{where}: text outside the tags: {excerpt!r}")


def _stripped(text: str, span: Span) -> Span:
    raw = span.slice(text)
    content = raw.strip()
    start = span.start + (len(raw) - len(raw.lstrip()) if content else 0)
    return Span(start, start + len(content))


def _salvage(completion: str, start: int, k: int, confidence: bool) -> list[Answer]:
    """The first complete ``<answer i>`` and the first confidence after it, slot by slot until one cannot be read."""
    contents = _complete_tags(completion, start)
    answers: list[Answer] = []
    position = start
    for n in _numbers(k):
        span = next((s for s in contents.get(f"answer{n}", ()) if s.start >= position), None)
        if span is None or not 0 < span.end - span.start <= MAX_ANSWER_CHARS:
            break
        number = None
        if confidence:
            number = next((s for s in contents.get(f"confidence{n}", ()) if s.start >= span.end), None)
            if number is None or _number_problem(completion, number):
                break
        q = float(number.slice(completion)) if number else None
        answers.append(Answer(span.slice(completion), span, q, number))
        position = span.end
    return answers


def _complete_tags(completion: str, start: int) -> dict[str, list[Span]]:
    """Stripped contents of every ``<name>text</name>`` without a tag inside, by name, in order, in one pass."""
    contents: dict[str, list[Span]] = {}
    tags = _Tags(completion, start)
    while tags.ahead:
        tag = tags.ahead
        tags.step()
        if tag[1] != "/" and tags.ahead == f"</{tag[1:]}":
            contents.setdefault(tag[1:-1], []).append(_stripped(completion, tags.text_before()))
    return contents
