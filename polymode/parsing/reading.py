"""From a completion to its answer set: the layouts first, then the grammar in words."""

from __future__ import annotations

from polymode.parsing.grammar import (
    END_THINK,
    MAX_ANSWER_CHARS,
    MAX_COMPLETION_CHARS,
    THINK,
    Deviation,
)
from polymode.parsing.layouts import answers_of, layouts
from polymode.parsing.lines import ends_in_a_line, has_lines, salvaged_lines, scan_lines
from polymode.parsing.tags import salvaged_tags, scan_tags
from polymode.prompts import check_k
from polymode.types import Answer, AnswerSet, ParseStatus

_CLEAN = ParseStatus.CLEAN  # a global is looked up faster


def parse_answers(
    completion: str, k: int, *, confidence: bool, finished: bool = True, salvage: bool = False
) -> AnswerSet:
    """Read the answer set of a completion.

    Args:
        completion: the model's whole text, unmodified, with a ``<think>`` that its prompt opened in front
            (`polymode.prompts.with_reasoning_opened`).
        k: answers asked for, 1..MAX_K.
        confidence: whether the format asks for a confidence with each answer.
        finished: False when generation was cut off, which turns MALFORMED into TRUNCATED; so it does answers in lines
            without a line break behind them, whose last name or number might have gone on.
        salvage: for evaluation only: when the format was not followed, keep the last answer of each slot, up to the
            first slot without one, as PARTIAL, whatever stands around them. Their confidences are kept where all can
            be read, else none is. Nothing is kept of reasoning that is not closed, nor of a text without ``</think>``
            that was cut off: its slots may be drafts. What speaks for an answer is not salvaged.

    Returns:
        K answers when CLEAN, 1..K when PARTIAL, none when MALFORMED or TRUNCATED, with the reason in words. Spans are
        half-open offsets into ``completion``; ``answer.span.slice(completion) == answer.text``.

    Raises:
        ConfigError: ``k`` is not a whole number in 1..MAX_K. No text raises.
    """
    if k.__class__ is not int:  # True and 3.0 would find the cached patterns of 1 and 3, which checks all whole numbers
        check_k(k)
    at = completion.rfind(END_THINK)
    start = at + len(END_THINK) if at >= 0 else 0
    length = len(completion)
    is_short = length - start <= MAX_ANSWER_CHARS and length <= MAX_COMPLETION_CHARS  # so that no answer is too long
    if is_short and (finished or not ends_in_a_line(completion, start)):
        for layout in layouts(k, confidence):
            match = layout.pattern.fullmatch(completion, start)
            if match is not None:
                answers = answers_of(match, layout)
                if answers is not None:
                    return AnswerSet(_CLEAN, answers, k, confidence)
        if completion.find("why", start) >= 0:
            for layout in layouts(k, confidence, rationale=True):
                match = layout.pattern.fullmatch(completion, start)
                answers = None if match is None else answers_of(match, layout)
                if answers is not None:
                    return AnswerSet(_CLEAN, answers, k, confidence)
    return parse_slowly(completion, start, k, confidence, finished, salvage)


def parse_slowly(completion: str, start: int, k: int, confidence: bool, finished: bool, salvage: bool) -> AnswerSet:
    """`parse_answers` of what stands from ``start``, without the layouts."""
    answers: tuple[Answer, ...] = ()
    opened = completion.find(THINK, start)
    if len(completion) > MAX_COMPLETION_CHARS:
        reason, salvage = f"completion: {len(completion)} characters, at most {MAX_COMPLETION_CHARS} are read", False
    elif opened >= 0 and start == 0:
        reason = "reasoning: <think> is never closed by </think>"
    else:
        scan = scan_lines if has_lines(completion, start) else scan_tags
        try:
            read = scan(completion, start, k, confidence)
            if finished or not ends_in_a_line(completion, start):
                return AnswerSet(ParseStatus.CLEAN, read, k, confidence)
            reason = f"line {k}: cut off before a line break, so its last part may lack its end"
        except Deviation as exc:
            reason = str(exc)
    if salvage and (finished or (start > 0 and opened < 0)):
        end = opened if opened >= 0 else len(completion)
        salvaged = salvaged_lines if has_lines(completion, start) else salvaged_tags
        answers = salvaged(completion, start, end, k, confidence)
    elif salvage and opened < 0 and ("<answer" in completion or has_lines(completion, start)):
        reason += "; cut off without </think>, so what it says may be drafts"
    failed = ParseStatus.MALFORMED if finished else ParseStatus.TRUNCATED
    return AnswerSet(ParseStatus.PARTIAL if answers else failed, answers, k, confidence, reason)
