"""Prompts that request the answer format (layer L1). ``parsing.py`` reads it.

Two styles request the same format: ``full`` for instruction-tuned models, ``brief`` for models that learned the format
in a warm start (the lab).
"""

from __future__ import annotations

from typing import Literal, get_args

from polymode.errors import ConfigError, one_of

MAX_K = 20
"""Largest number of answers that one completion may be asked for."""

Style = Literal["full", "brief"]

CONFIDENCE_TEXTS: tuple[str, ...] = tuple(f"{i / 20:.2f}" for i in range(21))
"""Confidences in the demonstrations for models of the brief style: 0.00, 0.05, ... 1.00."""


def check_k(k: int) -> int:
    """Return ``k`` if it is a whole number in 1..MAX_K, else raise ConfigError."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise ConfigError(f"k = {k!r} is not allowed: answers asked for must be a whole number from 1 to {MAX_K}")
    return k


def build_prompt(question: str, k: int, *, confidence: bool, exclusive: bool = False, style: Style = "full") -> str:
    """Prompt that requests ``k`` distinct answers to ``question`` in the answer format.

    Args:
        question: the question itself.
        k: answers to request, 1..MAX_K. k = 1 uses ``<answer>`` without a number.
        confidence: also request the probability that each answer is correct.
        exclusive: state that at most one answer is right, so the probabilities sum to at most 1.
        style: ``full`` explains the format; ``brief`` only names K and whether confidences are wanted.

    Raises:
        ConfigError: k out of range or unknown style.
    """
    check_k(k)
    one_of("style", style, get_args(Style))
    if style == "brief":
        return f"{question}\nGive {k} answer{'s' if k > 1 else ''}{' with confidence' if confidence else ''}\n"
    tags = [""] if k == 1 else [str(i) for i in range(1, k + 1)]
    slots = "\n".join(
        f"<answer{i}>...</answer{i}>" + (f"<confidence{i}>...</confidence{i}>" if confidence else "") for i in tags
    )
    if k == 1:
        ask = "Give the one answer that is most likely correct."
    else:
        ask = f"Give exactly {k} answers that differ in meaning, the most likely first."
    parts = [f"Think first, between <think> and </think>. {ask}"]
    if confidence:
        parts.append(
            "After each answer state the probability that this answer is correct, as a decimal number from 0 to 1."
        )
        if k > 1:
            parts.append(
                "At most one answer can be correct, so the probabilities sum to at most 1."
                if exclusive
                else "Several answers may be correct, so judge each one by itself; the probabilities need not sum to 1."
            )
    parts.append("An answer tag holds only the answer, without explanation. After </think> write exactly:")
    return f"{question}\n\n{' '.join(parts)}\n{slots}"


def build_plain_prompt(question: str) -> str:
    """Prompt that asks for one answer and nothing else, for models that do not know the answer format."""
    return f"{question}\n\nReply with one answer only, without explanation."


def build_check_prompt(question: str, answer: str) -> str:
    """Prompt that asks whether one proposed answer is right, to be answered with True or False (P(True))."""
    ask = "Is the proposed answer correct? Reply with one word, True or False."
    return f"{question}\n\nProposed answer: {answer}\n\n{ask}"
