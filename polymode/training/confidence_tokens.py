"""Which tokens of a completion decide its confidences, and what score each other token would have led to.

A confidence is written in one or more tokens: one on the lab's grid, ``0 . 7`` with a tokenizer that splits digits. At
each of them, and at the token behind the number, which decides that no digit follows, another token would have meant
another confidence. The verdict of the answer does not depend on that choice, so the score of every alternative can be
computed: `Choice` lists them for `polymode.training.expected_score`.

What would have followed an alternative token was not sampled, so it is looked up. For token u after the tokens t:

1. the mean score of the confidences of the batch in the same slot that begin with the tokens t u;
2. where there is none, the score of t u as it stands, where that is a whole confidence (``0.4``, ``1``);
3. where it is only a beginning (``0``, ``0.``), nothing is known, and u is left out of the alternatives.

Exact where one token decides the value: the lab's grid, and numbers with one decimal in digits, apart from the first
digit, whose alternative (``1`` instead of ``0.``, or the reverse) is looked up in other completions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymode.decoding.texts import CompletionDecoder
from polymode.decoding.token_starts import TokenStarts
from polymode.errors import ConfigError
from polymode.parsing import confidence_of, parse_answers
from polymode.prompts import Style, write_answers
from polymode.types import AnswerSet

Floats = NDArray[np.float64]
Loss = Callable[[float, float], float]
"""A proper score as a loss of confidence and label (`polymode.rewards.proper`)."""
_OF_NUMBERS = re.compile(r"\s*[0-9.]+\s*")
_EXAMPLES = (*(f"0.{i}" for i in range(1, 10)), *(f"0.{i:02}" for i in range(5, 100, 5)))
"""Confidences of which a vocabulary of words has some."""
_OPEN = ("0", "0.", ".")
"""Beginnings of many confidences. The first is also one itself, which is hardly ever what was meant."""


class NumberTokens:
    """The tokens of a vocabulary that numbers are written with.

    Args:
        decode: of the tokenizer that writes the completions.
    """

    def __init__(self, decode: CompletionDecoder) -> None:
        size = len(decode.tokenizer)
        texts = {i: decode.tokenizer.decode([i]) for i in range(size)}
        self.pieces = {i: text.strip() for i, text in texts.items() if _OF_NUMBERS.fullmatch(text)}
        """Text of each, without white space around it."""
        self.ids = np.array(sorted(self.pieces), dtype=np.int64)
        """Shape (C,), increasing."""
        self.column = {int(i): column for column, i in enumerate(self.ids)}

    def text(self, tokens: Sequence[int]) -> str:
        """The number that the tokens write."""
        return "".join(self.pieces[i] for i in tokens)


@dataclass(frozen=True, slots=True)
class Stated:
    """A confidence in its tokens."""

    slot: int
    """0..K - 1."""
    first: int
    """Index of its first token in the completion."""
    tokens: tuple[int, ...]
    """The number."""
    end: int | None
    """The token behind it; None where the completion ends with the number."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A place where the next token decides about a confidence."""

    position: int
    """Index of the token in the completion."""
    token: int
    """Column of the token that was sampled, C for the end of the number."""
    end: int | None
    """Id of the token behind the number."""
    allowed_C: NDArray[np.bool_]
    """Which number tokens, and in column C the end of the number, lead to a confidence."""
    losses_CY: Floats
    """Loss of each if the answer is wrong and if it is right, shape (C + 1, 2); 0 where not allowed."""
    is_open: bool = False
    """Whether the number is only begun by the sampled token, such as ``0`` of ``0.7``."""


def stated_confidences(
    numbers: NumberTokens, ids: Sequence[int], starts: Sequence[int], answers: AnswerSet
) -> list[Stated]:
    """The confidences of a completion whose tokens write nothing else; others have no token that decides them alone.

    Args:
        numbers: of the tokenizer.
        ids: the completion's tokens.
        starts: first character of each (`polymode.decoding.token_starts.TokenStarts`).
        answers: what was read from its text.
    """
    out = []
    for slot, answer in enumerate(answers.answers):
        if answer.confidence_span is None:
            continue
        first = int(np.searchsorted(starts, answer.confidence_span.start, "right")) - 1
        last = int(np.searchsorted(starts, answer.confidence_span.end, "left"))
        tokens = tuple(ids[first:last])
        is_whole = all(i in numbers.pieces for i in tokens) and confidence_of(numbers.text(tokens)) == answer.confidence
        if tokens and is_whole:
            out.append(Stated(slot, first, tokens, ids[last] if last < len(ids) else None))
    return out


class Choices:
    """Makes the choices of a batch of completions, with what would have followed looked up among them.

    Args:
        numbers: of the tokenizer.
        batch: the confidences of all its completions.
        loss: the proper score.
    """

    def __init__(self, numbers: NumberTokens, batch: Sequence[Stated], loss: Loss) -> None:
        self._numbers, self._loss = numbers, loss
        self._losses: dict[float, Floats] = {}
        self._following: dict[tuple[int, tuple[int, ...]], list[float]] = defaultdict(list)
        for stated in batch:
            value = confidence_of(numbers.text(stated.tokens))
            for end in range(1, len(stated.tokens) + 1):
                self._following[stated.slot, stated.tokens[:end]].append(value or 0.0)
        self._rules: dict[tuple[int, tuple[int, ...]], tuple[NDArray[np.bool_], Floats]] = {}

    def of(self, stated: Stated) -> list[Choice]:
        """The choices of one confidence, in the order of its tokens; places without an alternative are left out."""
        places = [*stated.tokens] if stated.end is None else [*stated.tokens, None]
        out = []
        for i, token in enumerate(places):
            allowed_C, losses_CY = self._rule(stated.slot, stated.tokens[:i])
            if stated.end is None and allowed_C[-1]:
                allowed_C = np.append(allowed_C[:-1], False)
            column = len(allowed_C) - 1 if token is None else self._numbers.column[token]
            if allowed_C.sum() > 1 and allowed_C[column]:
                is_open = token is not None and self._numbers.text(stated.tokens[: i + 1]) in _OPEN
                is_open = is_open and i + 1 < len(stated.tokens)
                out.append(Choice(stated.first + i, column, stated.end, allowed_C, losses_CY, is_open))
        return out

    def _rule(self, slot: int, before: tuple[int, ...]) -> tuple[NDArray[np.bool_], Floats]:
        """What may follow the tokens ``before``, and the losses it leads to."""
        if (rule := self._rules.get((slot, before))) is not None:
            return rule
        n = len(self._numbers.ids)
        losses_CY = np.zeros((n + 1, 2))
        allowed_C = np.zeros(n + 1, dtype=bool)
        for column, token in enumerate(self._numbers.ids.tolist()):
            if (losses_Y := self._led_to(slot, (*before, token))) is not None:
                losses_CY[column], allowed_C[column] = losses_Y, True
        if before and (value := confidence_of(self._numbers.text(before))) is not None:
            losses_CY[n], allowed_C[n] = self._losses_of(value), True
        self._rules[slot, before] = allowed_C, losses_CY
        return allowed_C, losses_CY

    def _led_to(self, slot: int, tokens: tuple[int, ...]) -> Floats | None:
        """Losses, wrong and right, of what begins with ``tokens``; None where nothing is known."""
        if (values := self._following.get((slot, tokens))) is not None:
            return np.mean([self._losses_of(value) for value in values], axis=0)
        text = self._numbers.text(tokens)
        value = None if text in _OPEN else confidence_of(text)
        return None if value is None else self._losses_of(value)

    def _losses_of(self, value: float) -> Floats:
        if value not in self._losses:
            self._losses[value] = np.array([self._loss(value, 0.0), self._loss(value, 1.0)])
        return self._losses[value]


def check_tokens(numbers: NumberTokens, decode: CompletionDecoder, style: Style, k: int) -> None:
    """Refuse a tokenizer with which no token decides a confidence.

    Raises:
        ConfigError: numbers are written with characters of the answer format in one token.
    """
    for confidence in _EXAMPLES:
        text = write_answers(["a"] * k, [confidence] * k, style)
        ids = decode.tokenizer(text, add_special_tokens=False)["input_ids"]
        text = decode(ids)  # a vocabulary of words may lack the answer, which does not matter here
        answers = parse_answers(text, k, confidence=True)
        stated = stated_confidences(numbers, ids, TokenStarts(decode)(ids, text), answers)
        choices = Choices(numbers, stated, lambda q, y: (q - y) ** 2)
        if any(choices.of(one) for one in stated):
            return
    pieces = [decode.tokenizer.decode([i]) for i in ids]
    raise ConfigError(
        f"credit = 'expected' with this model: its tokenizer writes {text.splitlines()[0]!r} as {pieces[:12]}, where "
        "no token decides a confidence alone; use the other format (lines or tags), or credit: term"
    )
