"""A generator that says what it is told: for tests and for trying a pipeline without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polymode.errors import ConfigError
from polymode.generate import Generated


class ScriptedGenerator:
    """Replies from a script.

    Args:
        script: per prompt the texts to give in turn, starting over when they run out; or one list for every prompt.
            Tokens are counted as words.
    """

    takes_seeds = True

    def __init__(self, script: Mapping[str, Sequence[str]] | Sequence[str]) -> None:
        self.script = script

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int | Sequence[int]
    ) -> list[list[Generated]]:
        """``n`` scripted texts of each prompt; a text of more than ``max_tokens`` words is cut off."""
        out = []
        for prompt in prompts:
            texts = self.script.get(prompt, ()) if isinstance(self.script, Mapping) else self.script
            if isinstance(texts, str) or not texts:
                raise ConfigError(f"script has no texts for prompt {prompt!r}: give a non-empty list of completions")
            words = [texts[turn % len(texts)].split(" ") for turn in range(n)]
            out.append(
                [Generated(" ".join(w[:max_tokens]), min(len(w), max_tokens), len(w) <= max_tokens) for w in words]
            )
        return out
