"""Whether a model can read prompts, and write the answer format to its end (layer L1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from polymode.chat import has_template
from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.prompts import Style, notation_of, write_answers

log = logging.getLogger(__name__)
_ANYTHING = "\ufffc"
"""Stands for the text of an answer, which may hold a stop string or not."""
_NUMBERS = ("0.50", *(f"{i / 100:.2f}" for i in range(101)), "0", "1", "1.0", ".5")
"""Confidences that stop strings are looked for in."""
_MARKS = re.compile(r"</?(?:answer|confidence)\d*>|(?m:^\d+\.)|\|")
"""What the notations tell their parts apart by."""


def check_stops(stop: Sequence[str], *, k: int, confidence: bool, style: Style) -> None:
    """Refuse stop strings that would cut a completion inside its answer format; behind its end they may.

    Args:
        stop: texts that end a completion.
        k: answers asked for.
        confidence: whether confidences are asked for.
        style: whose notation is asked for.

    Raises:
        ConfigError: one of them stands in the format.
    """
    answers = [_ANYTHING] * k
    whys = answers if style.startswith("rationale") else None
    numbers = _NUMBERS if confidence else ("",)
    forms = [write_answers(answers, [q] * k if q else None, style, rationales=whys) for q in numbers]
    for text in stop:
        if any(text in form for form in (*forms, f"<think>{_ANYTHING}</think>")):
            form = forms[0].replace(_ANYTHING, "...")
            raise ConfigError(f"stop = {text!r} stands in the answer format ({form!r:.80}): leave it out")


def check_reading(
    tokenizer: Any,
    context: int | None,
    longest_prompt: int,
    *,
    k: int,
    confidence: bool,
    style: Style,
    max_tokens: int,
    has_shots: bool = False,
) -> int:
    """Check that a model can read the prompts and write what they ask for; returns the tokens left for a completion.

    Warns where ``max_tokens`` has no room for the format, and where nothing tells the model that it is asked.

    Args:
        tokenizer: of the model.
        context: tokens that the model reads; None when unknown.
        longest_prompt: tokens of the longest prompt.
        k: answers asked for.
        confidence: whether confidences are asked for.
        style: whose notation is asked for.
        max_tokens: longest completion.
        has_shots: whether few-shot examples stand before each question.

    Raises:
        ConfigError: the tokenizer loses the format, or the context has no room for it.
    """
    # Tokenizers that know words only, as the lab's do, know numbers of one of these forms.
    forms = [write_answers(["0"] * k, [q] * k if confidence else None, style) for q in ("0.50", "0.5")]
    ids_of_forms = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in forms]
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in ids_of_forms]
    form, text, ids = forms[0], texts[0], ids_of_forms[0]
    is_lost = not any(parse_answers(one, k, confidence=confidence).is_clean for one in texts)
    unknown = getattr(tokenizer, "unk_token", None)
    if is_lost and unknown and unknown in text:  # a vocabulary of words may lack these numbers, and still have the tags
        is_lost = _MARKS.findall(text) != _MARKS.findall(form)
    if is_lost:
        other = "tags" if notation_of(style) == "lines" else "lines"
        raise ConfigError(
            f"the model's tokenizer does not keep the answer format: {form[:60]!r} comes back as {text[:60]!r}; use "
            f"format: {other}, or another model"
        )
    if context is not None and longest_prompt + len(ids) > context:
        raise ConfigError(
            f"the longest prompt has {longest_prompt} tokens and the format of k = {k} answers {len(ids)}, and the "
            f"model reads {context}: shorten the questions or shots, lower k, or use a model with a longer context"
        )
    if len(ids) > max_tokens:
        log.warning(
            "k = %d needs %d tokens for the answer format alone, and completions are cut off at %d, so none can keep "
            "it: raise that limit, lower k, or use format: lines",
            k,
            len(ids),
            max_tokens,
        )
    if not has_template(tokenizer) and not has_shots and not style.startswith("brief"):
        log.warning(
            "the model has no chat template, so it goes on from the plain prompt: unless it was trained on such "
            "prompts, show it the format by few-shot examples (shots) or polymode warmup, or use an instruction-tuned "
            "model"
        )
    return max_tokens if context is None else min(max_tokens, context - longest_prompt)
