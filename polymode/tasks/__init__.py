"""Tasks: where questions and references come from (layer L3).

A task is any object with the methods of `Task`; `open_task` finds one by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from polymode.prompts import Style
from polymode.types import Example

Split = Literal["train", "validation", "test"]


class Task(Protocol):
    """A source of examples. Splits never share a question; the same (split, n, seed) gives the same examples."""

    name: str
    prompt_style: Style
    """How its questions are asked: `brief` for lab models, `full` for instruction-tuned ones."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` examples of a split (all of them when None and the split is finite), shuffled by ``seed``."""
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """A task that can also write demonstrations, for the warm start of a model that knows nothing."""

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion for ``example``: short reasoning, then K distinct answers."""
        ...

    def vocabulary(self) -> Sequence[str]:
        """Texts whose words cover everything a question, a prompt or a demonstration can hold."""
        ...
