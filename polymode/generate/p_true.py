"""P(True): what a model says when it is asked whether an answer is right (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

from polymode.errors import ConfigError, one_of
from polymode.generate.scoring import Scorer, answers_of
from polymode.prompts import CONFIDENCE_TEXTS, Style, build_check_prompt, notation_of, prompt_for
from polymode.types import Completion

Reasoning = Literal["empty", "sampled"]
WORDS = ("True", "False")
_LEADS = ("", " ", "\n", "\n\n", "**", '"')
"""What may stand in front of the word: white space, bold in Markdown, a quote."""
_SPELLINGS = tuple([f"{lead}{form}" for lead in _LEADS for form in (w, w.upper(), w.lower())] for w in WORDS)
_THINK, _END = "<think>", "</think>"
EMPTY_REASONING = f"{_THINK}\n\n{_END}\n\n"
"""Reasoning of no words, as the templates of thinking models write it."""


@runtime_checkable
class Replier(Protocol):
    """A model behind a server, which tells how likely the first word of a reply is."""

    def reply_probabilities(
        self, prompts: Sequence[str], words: Sequence[str], *, n: int, max_tokens: int, seed: int
    ) -> list[list[float]]:
        """Probability that the reply to each prompt begins, after any reasoning, with each of the words."""
        ...


def p_true(
    completions: Sequence[Completion],
    model: Scorer | Replier,
    *,
    style: Style,
    reasoning: Reasoning = "empty",
    checks: int = 10,
    max_tokens: int = 1536,
    seed: int = 0,
) -> list[Completion]:
    """Confidence of each answer = what the same model says when it is asked whether that answer is right.

    Styles that explain the format show question and answer and compare the words True and False, each in all its
    spellings: q = P(True) / (P(True) + P(False)), after Kadavath et al. 2022, https://arxiv.org/abs/2207.05221. A
    model that would reason first is taken behind its reasoning: with an empty one in place of its own,

        P(w) = p(w | prompt) + p(<think> | prompt) p(w | prompt, <think></think>)

    where the first term is left out if the prompt opens the reasoning, or else with one that it samples. What True and
    False hold together, P(True) + P(False), becomes `Completion.confidence_mass`; a completion with an answer where
    that is 0 gets no confidences.

    A model of a ``brief`` style speaks only the answer format, so there the answer is put into the format with a
    confidence and q is the mean of the confidence that the model would state: q = sum_g g P(g) / sum_g P(g) over the
    numbers of the grid; where the confidence stands first, nothing can be asked. Completions that are not clean are
    left as they are.

    Args:
        completions: what is measured.
        model: one that scores texts, or one behind a server.
        style: of the prompts that the completions answer.
        reasoning: in front of True or False; a server's model reasons as it does.
        checks: replies of each answer where a server tells no probabilities.
        max_tokens: longest reasoning.
        seed: of sampled reasoning and replies.
    """
    one_of("reasoning", reasoning, ("empty", "sampled"))
    rows = [(number, answer) for number, c in enumerate(completions) for answer in answers_of(c)]
    worth = [1.0, 0.0]
    if style.startswith("brief"):
        if not isinstance(model, Scorer):
            raise ConfigError(
                "p-true of a model of the brief style needs probabilities of a reply's middle, which a server does not "
                "tell: use --backend transformers, or --style full for a model that follows instructions"
            )
        if notation_of(style) == "confidence-first":
            raise ConfigError(
                "p-true of a model of the brief style with format confidence-first: it states a confidence before the "
                "answer, so it has none for an answer that is named to it; measure votes or answer-probability"
            )
        begun = "1. {} | " if notation_of(style) == "lines" else "<answer>{}</answer><confidence>"
        prompts = [prompt_for(completions[i].example, 1, confidence=True, style=style) for i, _ in rows]
        texts = [f"{_thought(completions[i])}{begun.format(a.text)}" for i, a in rows]
        worth = [float(g) for g in CONFIDENCE_TEXTS]
        masses = model.continuation_probabilities(prompts, texts, [[text] for text in CONFIDENCE_TEXTS])
    else:
        prompts = [build_check_prompt(completions[i].example.question, a.text) for i, a in rows]
        if isinstance(model, Scorer):
            masses = _behind_reasoning(model, prompts, reasoning, max_tokens, seed)
        else:
            masses = model.reply_probabilities(prompts, WORDS, n=checks, max_tokens=max_tokens, seed=seed)
    values: dict[int, list[tuple[float, float]]] = {}
    for (number, _), p in zip(rows, masses, strict=True):
        total = math.fsum(p)
        mean = math.fsum(w * x for w, x in zip(worth, p, strict=True)) / total if total > 0 else 0.0
        values.setdefault(number, []).append((min(max(mean, 0.0), 1.0), min(total, 1.0)))
    return [_measured(c, values[i]) if i in values else c for i, c in enumerate(completions)]


def _measured(completion: Completion, values: Sequence[tuple[float, float]]) -> Completion:
    """A completion with q and mass of its answers; with the masses alone where one is 0, which says nothing of q."""
    masses = tuple(mass for _, mass in values)
    confidences = tuple(q for q, _ in values) if min(masses) > 0 else None
    return replace(completion, confidences=confidences, confidence_mass=masses)


def _behind_reasoning(
    model: Scorer, prompts: Sequence[str], reasoning: Reasoning, max_tokens: int, seed: int
) -> list[list[float]]:
    """P(True) and P(False) of each prompt."""
    openings = model.openings(prompts)
    direct = [i for i, opening in enumerate(openings) if not opening]
    groups = [*_SPELLINGS, [_THINK]]
    out = [[0.0, 0.0] for _ in prompts]
    weights = [1.0] * len(prompts)
    found = model.continuation_probabilities([prompts[i] for i in direct], [""] * len(direct), groups)
    for i, (*words, thinks) in zip(direct, found, strict=True):
        out[i], weights[i] = words, thinks
    rest = [i for i in range(len(prompts)) if weights[i] > 0]
    if reasoning == "empty":
        texts = [EMPTY_REASONING] * len(rest)
    else:
        texts = _sampled_reasoning(model, [prompts[i] for i in rest], max_tokens, seed)
    behind = model.continuation_probabilities([prompts[i] for i in rest], texts, list(_SPELLINGS))
    for i, words in zip(rest, behind, strict=True):
        out[i] = [p + weights[i] * more for p, more in zip(out[i], words, strict=True)]
    return out


def _sampled_reasoning(model: Scorer, prompts: Sequence[str], max_tokens: int, seed: int) -> list[str]:
    """A reasoning that the model samples, closed where it did not close it; empty where it does not reason."""
    texts = []
    for [reply] in model.generate(prompts, n=1, max_tokens=max_tokens, temperature=1.0, seed=seed):
        thought, end, _ = reply.text.partition(_END)
        is_open = not end and thought.lstrip().startswith(_THINK)
        texts.append(f"{thought.rstrip()}\n{_END}\n\n" if end or is_open else EMPTY_REASONING)
    return texts


def _thought(completion: Completion) -> str:
    """The completion's reasoning with its end tag, empty when it has none."""
    return "".join(completion.text.rpartition(_END)[:2])
