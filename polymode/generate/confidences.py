"""Confidences that are not stated but measured: answer probability and P(True) asked of the same model.

Both give completions with `Completion.confidences`, one number per slot, which evaluation takes instead of stated
ones. Sample consistency, the third of the usual baselines, needs no model: it is the share of votes of a pooled set
(``confidence_from="votes"`` of `polymode.evaluate`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.plugins import Entry, Registry
from polymode.prompts import CONFIDENCE_TEXTS, Style, build_check_prompt, build_prompt, prompt_for
from polymode.types import Answer, Completion


@runtime_checkable
class Scorer(Protocol):
    """A model that tells how likely a text is."""

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        """Per text its tokens as (start, end, log-probability)."""
        ...

    def next_token_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], candidates: Sequence[str]
    ) -> list[list[float]]:
        """Probability that each text goes on with the first token of each candidate."""
        ...


CONFIDENCES: Registry[Any] = Registry(
    "confidence",
    {
        "answer-probability": Entry(
            "polymode.generate.confidences:answer_probabilities", "probability of the answer's tokens"
        ),
        "p-true": Entry("polymode.generate.confidences:p_true", "P(True): the model is asked whether it is right"),
    },
)
"""Measured confidences by name: functions of completions, the model and ``style`` that give completions."""


def measure_confidences(
    name: str, completions: Sequence[Completion], model: object, *, style: Style
) -> list[Completion]:
    """The completions with the confidences called ``name``.

    Raises:
        ConfigError: an unknown name, or a model that does not tell probabilities.
    """
    measure = CONFIDENCES.load(name)
    if name in CONFIDENCES.entries and not isinstance(model, Scorer):
        raise ConfigError(f"confidences = {name!r} needs probabilities, which {type(model).__name__} does not tell")
    return measure(completions, model, style=style)


def answer_probabilities(completions: Sequence[Completion], scorer: Scorer, *, style: Style) -> list[Completion]:
    """Confidence of each answer = probability of its tokens given all that stands before them.

        q_i = exp(sum_t log pi(a_it | prompt, text before))

    The usual baseline "answer probability" (Kadavath et al. 2022, https://arxiv.org/abs/2207.05221, section 2;
    method.md of the RLCR line calls it the same). Completions that are not clean are left as they are.
    """
    prompts = [prompt_for(c.example, c.k, confidence=c.has_confidence, style=style) for c in completions]
    scored = scorer.token_log_probabilities(prompts, [c.text for c in completions])
    out = []
    for completion, tokens in zip(completions, scored, strict=True):
        values = tuple(
            math.exp(sum(lp for start, end, lp in tokens if start < a.span.end and end > a.span.start))
            for a in _answers(completion)
        )
        out.append(replace(completion, confidences=values) if values else completion)
    return out


def p_true(completions: Sequence[Completion], scorer: Scorer, *, style: Style) -> list[Completion]:
    """Confidence of each answer = what the same model says when it is asked whether that answer is right.

    Style ``full`` shows question and answer and compares the next tokens True and False:
    q = P(True) / (P(True) + P(False)), after Kadavath et al. 2022, https://arxiv.org/abs/2207.05221. Style ``brief``
    speaks only the answer format, so there the answer is put into the format with a confidence and q is the mean of the
    confidence that the model would state: q = sum_g g P(g) / sum_g P(g) over the numbers of the grid.
    Completions that are not clean are left as they are.
    """
    rows = [(number, answer) for number, c in enumerate(completions) for answer in _answers(c)]
    if style.startswith("brief"):
        begun = "<answer>{}</answer><confidence>" if style == "brief" else "1. {} | "
        prompts = [build_prompt(completions[i].example.question, 1, confidence=True, style=style) for i, _ in rows]
        texts = [f"{_thought(completions[i])}{begun.format(a.text)}" for i, a in rows]
        candidates, worth = CONFIDENCE_TEXTS, [float(g) for g in CONFIDENCE_TEXTS]
    else:
        prompts = [build_check_prompt(completions[i].example.question, a.text) for i, a in rows]
        texts, candidates, worth = [""] * len(rows), ("True", "False"), [1.0, 0.0]
    values: dict[int, tuple[float, ...]] = {}
    for (number, _), p in zip(rows, scorer.next_token_probabilities(prompts, texts, candidates), strict=True):
        total = math.fsum(p)
        mean = math.fsum(w * x for w, x in zip(worth, p, strict=True)) / total if total > 0 else 0.5
        values[number] = (*values.get(number, ()), min(max(mean, 0.0), 1.0))
    return [replace(c, confidences=values.get(number, c.confidences)) for number, c in enumerate(completions)]


def _answers(completion: Completion) -> tuple[Answer, ...]:
    """The answers of a clean completion, none of any other."""
    answers = parse_answers(
        completion.text, completion.k, confidence=completion.has_confidence, finished=completion.is_finished
    )
    return answers.answers if answers.is_clean else ()


def _thought(completion: Completion) -> str:
    """The completion's reasoning with its end tag, empty when it has none."""
    return "".join(completion.text.rpartition("</think>")[:2])
