"""Why completions were lost, in words: the commonest departures from the format, their number and what helps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
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
_SLOTLESS = r"slot \d+: text outside the tags|slot 1: <answer1?> expected, found the end of the text"
"""Reasons of completions that hold nothing that could be salvaged, as they have no slot."""
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
        r"slot \d+: (?:<confidence\d*> out of order|<answer\d*> expected, found <(?:answer|think|analysis))",
        Loss(
            "slots in another order or with other numbers",
            "k = 1 writes <answer>, k > 1 <answer1>, <answer2>, ...; see --k; confidences stand before all answers, or "
            "behind them",
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
_NO_SLOT = Loss(
    "no slot that can be read",
    "no slot was there: the model does not know the format (use --style full, or polymode warmup first) or answers "
    "nothing; check --k",
)
_OTHER = Loss("another departure from the format", "compare with what polymode.prompts.build_prompt asks for")


def loss_of(judged: JudgedCompletion) -> Loss | None:
    """What kept a completion from being clean; None for a clean one."""
    if judged.status == "clean":
        return None
    if judged.status == "truncated":
        return _CUT
    if judged.status == "malformed" and re.match(_SLOTLESS, judged.reason):
        return _NO_SLOT
    return next((loss for pattern, loss in _KINDS if re.match(pattern, judged.reason)), _OTHER)


@dataclass(slots=True)
class Losses:
    """What was lost of some completions, in numbers that add up: departures from the format, and faults."""

    n: int = 0
    """Completions."""
    counts: Counter[tuple[str, Loss]] = field(default_factory=Counter)
    """By status and kind."""
    first: dict[tuple[str, Loss], tuple[str, int, str]] = field(default_factory=dict)
    """Id, sample and reason of the first of each kind."""
    faults: Counter[str] = field(default_factory=Counter)
    """Why answers could not be judged."""

    @classmethod
    def of(cls, judged: Iterable[JudgedCompletion]) -> Losses:
        """Those of completions."""
        losses = cls()
        for one in judged:
            losses.n += 1
            if one.faults:
                losses.faults.update(fault.partition(": ")[2] for fault in one.faults)
            if (loss := loss_of(one)) is not None:
                losses.counts[one.status, loss] += 1
                losses.first.setdefault((one.status, loss), (one.id, one.sample, one.reason))
        return losses

    def add(self, later: Losses) -> None:
        """Count those of later completions too."""
        self.n += later.n
        self.counts.update(later.counts)
        self.faults.update(later.faults)
        self.first = {**later.first, **self.first}

    def describe(self) -> str:
        """The commonest reasons, a line each, with their number, an example and the fix; "" when all are clean."""
        lines = []
        if self.counts:
            lines.append(
                f"not in the asked format: {self.counts.total():,} of {self.n:,} completions, most of them for"
            )
        for (status, loss), count in self.counts.most_common(COMMONEST):
            id_, sample, reason = self.first[status, loss]
            lines.append(f"  {loss.name}: {count:,} {status}, first id {id_!r} sample {sample} ({reason}); {loss.fix}")
        for reason, count in self.faults.most_common(1):
            total = self.faults.total()
            lines.append(f"commonest of the {total:,} faults that left answers unscored ({count:,}): {reason}")
        return "\n".join(lines)
