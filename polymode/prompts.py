"""Prompts that request the answer format (layer L1). ``parsing`` reads it.

The format has three notations, which the parser tells apart: **tags** (``<answer1>Peru</answer1>``) hold any text,
**lines** (``1. Peru | 0.7``) take less than half the tokens where answers are short and of one line, and
**confidence-first** are tags with each confidence before its answer (without confidences they are `tags`). Each is
requested in two styles: in full for instruction-tuned models, briefly for models that learnt the format in a warm
start. In full it may also ask for a **rationale** with each answer: the words of the question that speak for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast, get_args

from polymode.errors import ConfigError, one_of
from polymode.types import Example

MAX_K = 20
"""Largest number of answers that one completion may be asked for."""

QUESTION = "{question}"
"""Stands for the question where a prompt's own text is recorded."""
Notation = Literal["tags", "lines", "confidence-first"]
"""How answers are written (`format` of recipes and commands)."""
Style = Literal[
    "full",
    "brief",
    "rationale",
    "lines",
    "brief-lines",
    "rationale-lines",
    "confidence-first",
    "brief-confidence-first",
    "rationale-confidence-first",
]
"""How a question is asked: in full, briefly, or in full with a rationale; in tags or in the notation that is named."""
_THINK = "<think>"

CONFIDENCE_TEXTS: tuple[str, ...] = tuple(f"{i / 20:.2f}" for i in range(21))
"""Confidences in the demonstrations for models of the brief style: 0.00, 0.05, ... 1.00."""


def check_k(k: int) -> int:
    """Return ``k`` if it is a whole number in 1..MAX_K, else raise ConfigError."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise ConfigError(f"k = {k!r} is not allowed: answers asked for must be a whole number from 1 to {MAX_K}")
    return k


def style_of(style: str, notation: str, of_task: Style, *, rationale: bool = False) -> Style:
    """The style that options name.

    Args:
        style: full, brief or `task` (the task's own).
        notation: a `Notation`; ``tags`` leaves the notation of a style that has one.
        of_task: the task's own style.
        rationale: whether it asks for a rationale with each answer.

    Raises:
        ConfigError: another name, or a rationale in a style that explains nothing.
    """
    one_of("style", style, ("task", *get_args(Style)))
    one_of("format", notation, get_args(Notation))
    name = of_task if style == "task" else style
    if rationale and name.startswith("brief"):
        raise ConfigError(
            f"rationale = true does not suit the prompt style {name}, which explains nothing: use style full, which a "
            "model must know how to follow, or leave rationale out"
        )
    manner = next((one for one in ("brief", "rationale") if name.startswith(one)), "full")
    manner = "rationale" if rationale else manner
    form = notation_of(name) if notation == "tags" else notation
    name = manner if form == "tags" else form if manner == "full" else f"{manner}-{form}"
    return cast(Style, name)


def notation_of(style: str) -> Notation:
    """The notation that a style writes answers in."""
    return next((one for one in get_args(Notation) if style.endswith(one)), "tags")


def prompt_for(example: Example, k: int, *, confidence: bool, style: Style) -> str:
    """`build_prompt` for a question, asked as its task asks."""
    return build_prompt(
        example.question, k, confidence=confidence, exclusive=example.exclusive, style=style, ask=example.ask
    )


def build_prompt(
    question: str, k: int, *, confidence: bool, exclusive: bool = False, style: Style = "full", ask: str = ""
) -> str:
    """Prompt that requests ``k`` distinct answers to ``question`` in the answer format.

    Args:
        question: the question itself.
        k: answers to request, 1..MAX_K. k = 1 uses ``<answer>`` without a number.
        confidence: also request the probability that each answer is correct.
        exclusive: state that at most one answer is right, so the probabilities sum to at most 1.
        style: those that begin with ``brief`` only name K, whether confidences are wanted, and lines where it is
            lines; the others explain the format, those that begin with ``rationale`` with a rationale.
        ask: what several answers are asked for with, instead of "Give exactly {k} answers that differ in meaning, the
            most likely first."; ``{k}`` stands for their number. Explained styles only.

    Raises:
        ConfigError: k out of range or unknown style.
    """
    check_k(k)
    one_of("style", style, get_args(Style))
    question = encodable(question)
    notation = notation_of(style)
    is_first = notation == "confidence-first"
    if style.startswith("brief"):
        answers = f"{k} answer{'s' if k > 1 else ''}"
        if confidence:  # the same words in both orders: a word-level tokenizer made from one knows the other
            answers = f"confidence with {answers}" if is_first else f"{answers} with confidence"
        line = f", as 1. answer{' | confidence' if confidence else ''}" if notation == "lines" else ""
        return f"{question}\nGive {answers}{line}\n"
    if k == 1:
        asked = "Give the one answer that is most likely correct."
    else:
        asked = (ask or "Give exactly {k} answers that differ in meaning, the most likely first.").replace(
            "{k}", str(k)
        )
    parts = [f"Think first, between <think> and </think>. {asked}"]
    has_rationale = style.startswith("rationale")
    if has_rationale:
        parts.append(
            "After each answer quote the words of the question that speak for it, exactly as they stand there, several "
            "separated by semicolons, and nothing else; leave it empty where the question holds none."
        )
    if confidence:
        what = (
            "Before each answer state the probability that the answer you will give is correct"
            if is_first
            else "After each answer state the probability that this answer is correct"
        )
        parts.append(f"{what}, as a decimal number from 0 to 1.")
        if k > 1:
            parts.append(
                "At most one answer can be correct, so the probabilities sum to at most 1."
                if exclusive
                else "Several answers may be correct, so judge each one by itself; the probabilities need not sum to 1."
            )
    if notation != "lines":
        parts.append("An answer tag holds only the answer, without explanation.")
    elif not has_rationale:
        parts.append("A line holds only the answer, without explanation.")
    parts.append("After </think> write exactly:")
    dots = ["..."] * k
    form = write_answers(dots, dots if confidence else None, style, rationales=dots if has_rationale else None)
    return f"{question}\n\n{' '.join(parts)}\n{form}"


def write_answers(
    texts: Sequence[str],
    confidences: Sequence[str] | None,
    style: Style,
    *,
    rationales: Sequence[str] | None = None,
) -> str:
    """Answers, with the texts of their confidences, in the notation of a style: what `polymode.parse_answers` reads.

    ``rationales`` stand behind their answers, nothing where one is empty.
    """
    numbers = confidences if confidences is not None else [""] * len(texts)
    whys = rationales if rationales is not None else [""] * len(texts)
    slots = list(zip(texts, whys, numbers, strict=True))
    notation = notation_of(style)
    if notation == "lines":
        return "\n".join(
            f"{i}. {text}{f' | why: {why}' if why else ''}{f' | {q}' if q else ''}"
            for i, (text, why, q) in enumerate(slots, 1)
        )
    tags = [""] if len(texts) == 1 else range(1, len(texts) + 1)
    lines = []
    for n, (text, why, q) in zip(tags, slots, strict=True):
        answer = f"<answer{n}>{text}</answer{n}>" + (f"<why{n}>{why}</why{n}>" if why else "")
        stated = f"<confidence{n}>{q}</confidence{n}>" if q else ""
        lines.append(stated + answer if notation == "confidence-first" else answer + stated)
    return "\n".join(lines)


def reasoning_opened_by(prompt: object) -> str:
    """What a prompt ends with when it opens the reasoning itself: ``<think>`` and white space; "" when it does not.

    Templates of thinking models do so, and the model then goes on inside its reasoning, without that tag.

    Args:
        prompt: the text that the model goes on from, or a conversation, of which a last message of the role
            ``assistant`` is the beginning of the reply; anything else opens nothing.
    """
    if isinstance(prompt, Sequence) and not isinstance(prompt, str):
        last = prompt[-1] if prompt else None
        prompt = last.get("content") if isinstance(last, Mapping) and last.get("role") == "assistant" else ""
    if not isinstance(prompt, str):
        return ""
    end = len(prompt.rstrip())
    return prompt[end - len(_THINK) :] if prompt.endswith(_THINK, 0, end) else ""


def with_reasoning_opened(completion: str, opening: str) -> str:
    """The completion with what its prompt opened (`reasoning_opened_by`) in front, unless it begins so already."""
    return opening + completion if opening and not completion.lstrip().startswith(_THINK) else completion


def build_plain_prompt(question: str) -> str:
    """Prompt that asks for one answer and nothing else, for models that do not know the answer format."""
    return f"{question}\n\nReply with one answer only, without explanation."


def build_check_prompt(question: str, answer: str) -> str:
    """Prompt that asks whether one proposed answer is right, to be answered with True or False (P(True))."""
    ask = "Is the proposed answer correct? Reply with one word, True or False."
    return encodable(f"{question}\n\nProposed answer: {answer}\n\n{ask}")


def encodable(text: str) -> str:
    """``text`` with ``?`` for half of a surrogate pair, which no tokenizer or server accepts."""
    return text.encode("utf-8", "replace").decode()
