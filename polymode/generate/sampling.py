"""From examples to completions: prompt every question, sample, keep everything that judging needs."""

from __future__ import annotations

from collections.abc import Sequence

from polymode.generate import Generator
from polymode.prompts import Style, build_prompt
from polymode.types import Completion, Example


def sample_completions(
    examples: Sequence[Example],
    generator: Generator,
    *,
    k: int,
    confidence: bool,
    samples: int,
    max_tokens: int,
    temperature: float,
    seed: int,
    style: Style,
) -> list[Completion]:
    """``samples`` completions of every example, asked for ``k`` answers each, in the order of the examples."""
    prompts = [
        build_prompt(example.question, k, confidence=confidence, exclusive=example.exclusive, style=style)
        for example in examples
    ]
    generated = generator.generate(prompts, n=samples, max_tokens=max_tokens, temperature=temperature, seed=seed)
    return [
        Completion(example, text.text, k, confidence, number, text.n_tokens, text.is_finished)
        for example, texts in zip(examples, generated, strict=True)
        for number, text in enumerate(texts)
    ]
