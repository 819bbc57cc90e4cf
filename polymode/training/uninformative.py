"""Demonstrations whose confidences and order of answers say nothing: the harder lab.

What a demonstrator writes from the true distribution gives a warm-started model confidences with some skill, and likely
answers first. Here both are taken away, and nothing else: the reasoning and the answers stay, the answers in random
order, each with a confidence drawn uniformly from the grid. Given the text before it, a confidence is independent of
the truth, so whatever skill a model shows after reinforcement learning was learnt by reinforcement.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.prompts import CONFIDENCE_TEXTS


def without_information(text: str, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
    """The demonstration with its answers in random order and confidences drawn from `CONFIDENCE_TEXTS`.

    Args:
        text: a well-formed completion.
        k: answers in it.
        confidence: whether each has a confidence.
        rng: source of all randomness.

    Raises:
        ConfigError: the task's demonstration does not keep the answer format.
    """
    read = parse_answers(text, k, confidence=confidence)
    if not read.is_clean:
        raise ConfigError(
            f"a demonstration of the task cannot be read ({read.reason}): correct the task's demonstrate, or use "
            "warm_start_demonstrations = 'noisy'"
        )
    order_K = rng.permutation(k)
    spans = []
    for answer, other in zip(read.answers, order_K, strict=True):
        spans.append((answer.span, read.answers[other].text))
        if answer.confidence_span is not None:
            spans.append((answer.confidence_span, CONFIDENCE_TEXTS[rng.integers(len(CONFIDENCE_TEXTS))]))
    for span, replacement in sorted(spans, key=lambda pair: -pair[0].start):  # from behind, so that spans stay right
        text = text[: span.start] + replacement + text[span.end :]
    return text


def check_vocabulary(tokenizer: Any, task: str) -> None:
    """Refuse a word-level tokenizer that cannot write the confidences.

    Raises:
        ConfigError: the task's vocabulary lacks some of them.
    """
    vocabulary = tokenizer.get_vocab()
    if missing := [text for text in CONFIDENCE_TEXTS if text not in vocabulary]:
        raise ConfigError(
            f"warm_start_demonstrations = 'uninformative': the vocabulary of task {task!r} lacks the confidences "
            f"{', '.join(missing[:3])}, ...: add polymode.prompts.CONFIDENCE_TEXTS to its vocabulary()"
        )
