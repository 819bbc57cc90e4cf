"""A generator that says what it is told: for tests and for trying a pipeline without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polymode.errors import ConfigError
from polymode.generate import Generated, OnText


class ScriptedGenerator:
    """Replies from a script.

    Args:
        script: per prompt the texts to give in turn, starting over when they run out; or one list for every prompt.
            Tokens are counted as words.
    """

    takes_seeds = tells_texts = True

    def __init__(self, script: Mapping[str, Sequence[str]] | Sequence[str]) -> None:
        self.script = script

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int,
        max_tokens: int,
        temperature: float,
        seed: int | Sequence[int],
        on_text: OnText = lambda prompt, sample, text: None,
    ) -> list[list[Generated]]:
        """``n`` scripted texts of each prompt, told word by word; one of over ``max_tokens`` words is cut off."""
        out = []
        for number, prompt in enumerate(prompts):
            texts = self.script.get(prompt, ()) if isinstance(self.script, Mapping) else self.script
            if isinstance(texts, str) or not texts:
                raise ConfigError(f"script has no texts for prompt {prompt!r}: give a non-empty list of completions")
            words = [texts[turn % len(texts)].split(" ") for turn in range(n)]
            for turn, own in enumerate(words):
                for end in range(1, min(len(own), max_tokens) + 1):
                    on_text(number, turn, " ".join(own[:end]))
            out.append(
                [Generated(" ".join(w[:max_tokens]), min(len(w), max_tokens), len(w) <= max_tokens) for w in words]
            )
        return out
