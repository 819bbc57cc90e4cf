"""Why completions were lost, in words: the commonest departures from the format, their number and what helps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from polymode.runs import JudgedCompletion

COMMONEST = 3
"""Reasons that are shown."""


class Loss(NamedTuple):
    """A kind of departure."""

    name: str
    fix: str
    """What helps, and what is measured all the same."""


_CUT = Loss(
    "cut off before the answers were complete",
    "allow more tokens (--max-tokens); drafts in a text without </think> are not counted",
)
# The first pattern that a parser's reason begins with; reasons may quote the completion, so none looks further.
_KINDS: tuple[tuple[str, Loss], ...] = (
    (
        r"reasoning: ",
        Loss(
            "reasoning that is never closed by </think>",
            'allow more tokens (--max-tokens), and mark what was cut off with "finished": false',
        ),
    ),
    (r"completion: ", Loss("longer than what is read", "generate with a limit of tokens (--max-tokens)")),
    (
        r"slot \d+: <confidence\d*> (?:is|has) ",
        Loss(
            "a confidence that is no plain decimal from 0 to 1",
            "ask for numbers such as 0.85; the answers count, the confidences of such a set are left out",
        ),
    ),
    (
        r"slot \d+: <confidence\d*> expected",
        Loss(
            "an answer without a confidence",
            "ask for one after each answer, or read the file with --confidence no; the answers count, the confidences "
            "of such a set are left out",
        ),
    ),
    (
        r"slot \d+: <answer\d*> expected, found <confidence",
        Loss(
            "confidences where none were asked for",
            'read the file with --confidence yes, or write "confidence": true into its lines',
        ),
    ),
    (
        r"after the last slot: text",
        Loss(
            "text after the last slot", "ask for nothing but the slots after </think>; the slots are read all the same"
        ),
    ),
    (
        r"slot \d+: text outside the tags",
        Loss(
            "text before or between the slots (a preface, a code fence)",
            "ask for nothing but the slots after </think>; the slots are read all the same",
        ),
    ),
    (r"after the last slot: <", Loss("more slots than k", "give the k that was asked for (--k)")),
    (
        r"slot \d+: <answer\d*> expected, found <(?:answer|think|analysis)",
        Loss(
            "slots in another order or with other numbers",
            "k = 1 writes <answer>, k > 1 <answer1>, <answer2>, ...; see --k",
        ),
    ),
    (
        r"slot \d+: <answer\d*> expected, found",
        Loss("fewer answers than k", "ask for exactly k answers, or give the k that was asked for (--k)"),
    ),
    (r"slot \d+: <answer\d*> is empty", Loss("an empty answer", "ask for an answer in every slot")),
    (
        r"slot \d+: <answer\d*> has ",
        Loss("an answer that is too long", "ask for nothing but the answer inside its tags"),
    ),
    (
        r"slot|analysis",
        Loss("a tag that is not closed", "close every tag; an answer must not contain tags of the format"),
    ),
)
_OTHER = Loss("another departure from the format", "compare with what polymode.prompts.build_prompt asks for")


def loss_of(judged: JudgedCompletion) -> Loss | None:
    """What kept a completion from being clean; None for a clean one."""
    if judged.status == "clean":
        return None
    if judged.status == "truncated":
        return _CUT
    return next((loss for pattern, loss in _KINDS if re.match(pattern, judged.reason)), _OTHER)


def describe_losses(judged: Iterable[JudgedCompletion]) -> str:
    """The commonest reasons, a line each, with their number, an example and the fix; "" when all are clean."""
    counts: Counter[tuple[str, Loss]] = Counter()
    first: dict[tuple[str, Loss], JudgedCompletion] = {}
    n = 0
    for one in judged:
        n += 1
        if (loss := loss_of(one)) is not None:
            counts[one.status, loss] += 1
            first.setdefault((one.status, loss), one)
    if not counts:
        return ""
    lines = [f"not in the asked format: {counts.total():,} of {n:,} completions, most of them for"]
    for (status, loss), count in counts.most_common(COMMONEST):
        one = first[status, loss]
        lines.append(
            f"  {loss.name}: {count:,} {status}, first id {one.id!r} sample {one.sample} ({one.reason}); {loss.fix}"
        )
    return "\n".join(lines)
