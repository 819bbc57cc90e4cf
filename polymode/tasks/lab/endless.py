"""Tasks that generate their own questions: infinite, and split by a hash of the question's text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from polymode.errors import ConfigError, one_of
from polymode.prompts import Style
from polymode.tasks import SPLITS, Split
from polymode.tasks.held_out import text_hash
from polymode.types import Example

_SPLIT_OF_BUCKET: dict[int, Split] = {0: "test", 1: "validation"}  # of ten buckets of a question's hash; rest: train


class Endless(ABC):
    """A task without an end; a question belongs to one split, whatever the seed that made it."""

    name: str
    prompt_style: Style = "brief"

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Iterable[tuple[str, Callable[[str], Example]]]:
        """Some questions, each with a function from an identity to its example; for the task to write."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """``n`` questions of a split, a tenth each being test and validation; there is no end, so ``n`` is required.

        Raises:
            ConfigError: n is None or negative, or the split is unknown.
        """
        one_of("split", split, SPLITS)
        if n is None or n < 0:
            raise ConfigError(f"n = {n!r}: {self.name} is endless, say how many examples to draw (for example n=200)")
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        examples: list[Example] = []
        while len(examples) < n:
            for question, example in self.draw(rng):
                if len(examples) < n and _SPLIT_OF_BUCKET.get(text_hash(question, 4) % 10, "train") == split:
                    examples.append(example(f"{self.name}-{split}-{seed}-{len(examples)}"))
        return examples
