"""Generators: where completions come from (layer L4). Results meet the other stages only as ``completions.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Generated:
    """One sampled text."""

    text: str
    """The completion without its end token."""
    n_tokens: int | None
    """Generated tokens, end token included; None when the back-end does not tell."""
    is_finished: bool
    """False when generation was cut off at its length limit."""
    n_prompt_tokens: int | None = None
    """Tokens of the prompt; None when the back-end does not tell."""


class Generator(Protocol):
    """A source of completions; the same prompts, settings and seed give the same texts."""

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt, in the order of the prompts."""
        ...
