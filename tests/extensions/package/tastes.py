"""A package outside polymode that adds one of each: a task, verifier, generator, metric, term and confidence scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from polymode.generate import Generated
from polymode.metrics.table import JudgedTable
from polymode.prompts import Style, build_prompt
from polymode.tasks import Split
from polymode.types import Completion, Example, Judgement, Reference

DRINKS = ("tea", "milk", "water", "juice", "cocoa")
REPLY = "<answer1>{}</answer1><confidence1>0.8</confidence1><answer2>{}</answer2><confidence2>0.4</confidence2>"


class Drinks:
    """Questions such as ``likes tea milk``: each drink named is a right answer."""

    name = "drinks"
    prompt_style: Style = "brief"

    def __init__(self, *, prefix: str = "likes") -> None:
        self.prefix = prefix

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """Pairs of drinks; every third is a test question."""
        pairs = [pair for i, pair in enumerate(combinations(DRINKS, 2)) if (i % 3 == 0) == (split == "test")]
        order = np.random.default_rng(seed).permutation(len(pairs))[:n]
        return [
            Example("+".join(pairs[i]), f"{self.prefix} {' '.join(pairs[i])}", tuple(map(Reference, pairs[i])))
            for i in order
        ]

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """Two drinks at random."""
        return REPLY.format(*rng.permutation(DRINKS)[:2])

    def vocabulary(self) -> Sequence[str]:
        """Every word."""
        return [build_prompt(self.prefix, 2, confidence=True, style="brief"), REPLY, *DRINKS]


@dataclass(frozen=True)
class SameDrink:
    """Drinks are the same whatever their case is; one that tastes of nothing cannot be judged."""

    tasteless: str = "air"

    def key(self, text: str) -> str:
        """The lower-case name."""
        if text == self.tasteless:
            raise ValueError(f"{text} has no taste")
        return text.lower()

    def same(self, a: str, b: str) -> bool:
        """Whether the names are equal."""
        return self.key(a) == self.key(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether the answer is the reference's name."""
        return self.same(answer, reference.text)


class Parrot:
    """Repeats the last words of the question, in capital letters."""

    def __init__(self, model: str, *, shout: bool = True) -> None:
        self.model, self.shout = model, shout

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """The same completion ``n`` times."""
        return [[Generated(self._reply(prompt), 20, True)] * n for prompt in prompts]

    def _reply(self, prompt: str) -> str:
        first = next(drink for drink in DRINKS if drink in prompt)
        return REPLY.format(first.upper() if self.shout else first, "beer")


def first_right(table: JudgedTable) -> Any:
    """Whether the first answer of the set is right."""
    return table.per_set(table.y * (table.slot == 0))


def brevity(judgement: Judgement) -> list[float]:
    """1 over the length of each answer."""
    return [1 / len(answer.text) for answer in judgement.answer_set.answers]


def squared(q: float, y: float) -> float:
    """The Brier score once more."""
    return (q - y) ** 2


def even(completions: Sequence[Completion], model: object, *, style: Style) -> list[Completion]:
    """Every answer gets the same confidence."""
    return [replace(completion, confidences=(0.5,) * completion.k) for completion in completions]
