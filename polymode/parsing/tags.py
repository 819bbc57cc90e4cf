"""The grammar of tags, tag by tag: what it accepts, the first departure from it in words, and what can be salvaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest

from polymode.parsing.grammar import (
    TAG,
    Deviation,
    answer_at,
    answer_problem,
    length_problem,
    number_problem,
    numbers_of,
    stripped,
)
from polymode.types import Answer, Span


def scan_tags(completion: str, start: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The answers of a completion in the grammar; raises Deviation at the first departure from it."""
    scanner, numbers = _Scanner(completion, start), numbers_of(k)
    answers: list[Span] = []
    confidences: list[Span] = []
    rationales: list[Span | None] = []
    has_analysis = is_blocked = False
    is_first = confidence and scanner.tag == f"<confidence{numbers[0]}>"
    for n in numbers:
        if is_first:
            confidences.append(scanner.slot("confidence", n, number_problem))
        elif confidence:
            scanner.refuse_another_order(n)
        answers.append(scanner.slot("answer", n, answer_problem))
        has_why = scanner.tag == f"<why{n}>"
        rationales.append(scanner.slot("why", n, length_problem) if has_why else None)
        if not confidence or is_blocked or is_first:
            continue
        # After the first answer the next tag tells the two layouts apart; with K = 1 only <analysis> makes it blocked.
        if not confidences and scanner.tag in ("<answer2>" if n else "<answer>", "<analysis>"):
            is_blocked = True
        else:
            confidences.append(scanner.slot("confidence", n, number_problem))
    if is_blocked:
        has_analysis = scanner.skip_analysis()
        confidences = [scanner.slot("confidence", n, number_problem) for n in numbers]
    if not has_analysis:
        scanner.skip_analysis()
    scanner.refuse_text("after the last slot")
    if scanner.tag:
        raise Deviation(f"after the last slot: {scanner.tag} is one tag too many")
    spans_K = zip_longest(answers, confidences, rationales)
    return tuple(answer_at(completion, *spans) for spans in spans_K)


def salvaged_tags(completion: str, start: int, end: int, k: int, confidence: bool) -> tuple[Answer, ...]:
    """The last answer of each slot between ``start`` and ``end``, up to the first slot without one.

    A confidence belongs to the answer that it follows, or where a confidence stands before all answers, to the answer
    that it precedes: the last one between this answer and another of the same slot. One that is missing or no plain
    decimal leaves the answers as they are and the whole set without confidences: calibration measured on the slots that
    happen to be readable would be that of other sets.
    """
    last: dict[str, Span] = {}  # of every <name>text</name> without a tag inside, by opening tag
    before: dict[str, Span | None] = {}  # the confidence in front of each of these answers, by its tag
    opening = first = ""
    for span, tag in _pieces(completion, start, end):
        if opening and tag == f"</{opening[1:]}" and span.end > span.start:
            last[opening] = span
            first = first or (opening if opening.startswith(("<answer", "<confidence")) else "")
            if opening.startswith("<answer"):
                before[opening] = last.pop(opening.replace("answer", "confidence"), None)
        opening = tag
    answers: list[Span] = []
    confidences: list[Span] = []
    for n in numbers_of(k):
        span = last.get(f"<answer{n}>")
        if span is None or answer_problem(span.slice(completion)):
            break
        answers.append(span)
        # A confidence that was followed by an answer of its slot is in `before`, so one that is left follows the last.
        number = before[f"<answer{n}>"] if first.startswith("<confidence") else last.get(f"<confidence{n}>")
        if confidence and number is not None and not number_problem(number.slice(completion)):
            confidences.append(number)
    if len(confidences) < len(answers):
        confidences = []
    return tuple(answer_at(completion, *spans) for spans in zip_longest(answers, confidences))


class _Scanner:
    """The grammar tag by tag; its methods raise Deviation at a departure from it."""

    def __init__(self, completion: str, start: int) -> None:
        self.completion = completion
        self._pieces = _pieces(completion, start, len(completion))
        self.gap, self.tag = next(self._pieces)  # the text up to the next tag, and that tag, "" at the end

    def content(self, name: str, where: str) -> Span:
        """Step over ``<name>text</name>``; the text's span without surrounding white space."""
        self.refuse_text(where)
        if self.tag != f"<{name}>":
            raise Deviation(f"{where}: <{name}> expected, found {self.tag or 'the end of the text'}")
        span, closing = next(self._pieces)
        if closing != f"</{name}>":
            raise Deviation(f"{where}: </{name}> expected, found {closing or 'the end of the text'}")
        self.gap, self.tag = next(self._pieces)
        return span

    def slot(self, name: str, n: str, problem_of: Callable[[str], str]) -> Span:
        """Step over the tags of a slot's answer, of what speaks for it, or of its confidence."""
        span = self.content(f"{name}{n}", f"slot {n or 1}")
        if problem := problem_of(span.slice(self.completion)):
            raise Deviation(f"slot {n or 1}: <{name}{n}> {problem}")
        return span

    def refuse_another_order(self, n: str) -> None:
        """Refuse a confidence where an answer should stand."""
        where = f"slot {n or 1}"
        self.refuse_text(where)
        if self.tag.startswith("<confidence"):
            raise Deviation(f"{where}: {self.tag} out of order, <answer{n}> expected")

    def skip_analysis(self) -> bool:
        has_analysis = self.tag == "<analysis>"
        if has_analysis:
            self.content("analysis", "analysis")
        return has_analysis

    def refuse_text(self, where: str) -> None:
        if text := self.gap.slice(self.completion):
            raise Deviation(f"{where}: text outside the tags: {text[:40]!r}")


def _pieces(completion: str, start: int, end: int) -> Iterator[tuple[Span, str]]:
    """Each tag from ``start`` to ``end``, after the stripped text in front of it; at last the end of the text, as "".

    One pass of finditer, never restarted: this is what makes the scan linear in the number of characters.
    """
    position = start
    for match in TAG.finditer(completion, start, end):
        yield stripped(completion, position, match.start()), match[0]
        position = match.end()
    yield stripped(completion, position, end), ""
