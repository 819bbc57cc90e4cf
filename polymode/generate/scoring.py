"""Models that tell how likely a text is, and what is scored with them (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from polymode.generate import Generated
from polymode.parsing import parse_answers
from polymode.prompts import Style, prompt_for
from polymode.types import Answer, Completion


@runtime_checkable
class Scorer(Protocol):
    """A generator that tells how likely a text is."""

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """As `polymode.generate.Generator`."""
        ...

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        """Per text its tokens as (start, end, log-probability)."""
        ...

    def continuation_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Probability that each text goes on with one of the spellings of each group."""
        ...

    def openings(self, prompts: Sequence[str]) -> list[str]:
        """What each prompt opens for its completion: ``<think>`` and white space, or nothing."""
        ...


def answers_of(completion: Completion) -> tuple[Answer, ...]:
    """The answers of a clean completion, none of any other."""
    answers = parse_answers(
        completion.text, completion.k, confidence=completion.has_confidence, finished=completion.is_finished
    )
    return answers.answers if answers.is_clean else ()


def answer_probabilities(completions: Sequence[Completion], model: Scorer, *, style: Style) -> list[Completion]:
    """Confidence of each answer = probability of its tokens given all that stands before them.

        q_i = exp(sum_t log pi(a_it | prompt, text before))

    The usual baseline "answer probability" (Kadavath et al. 2022, https://arxiv.org/abs/2207.05221, section 2;
    method.md of the RLCR line calls it the same). Completions that are not clean are left as they are.
    """
    answers = {number: own for number, c in enumerate(completions) if (own := answers_of(c))}
    clean = [completions[number] for number in answers]  # one that was cut off may be as long as the context
    prompts = [prompt_for(c.example, c.k, confidence=c.has_confidence, style=style) for c in clean]
    out = list(completions)
    scored = model.token_log_probabilities(prompts, [c.text for c in clean])
    for (number, own), tokens in zip(answers.items(), scored, strict=True):
        values = tuple(
            min(1.0, math.exp(sum(lp for start, end, lp in tokens if start < a.span.end and end > a.span.start)))
            for a in own
        )
        out[number] = replace(out[number], confidences=values, confidence_mass=None)
    return out
