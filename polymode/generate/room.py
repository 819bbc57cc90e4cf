"""Whether a back-end's model can read the prompts and write what they ask for (layer L4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polymode.chat import Chat
from polymode.format_checks import check_reading, check_stops
from polymode.prompts import Style


def check_room(
    generator: Any,
    prompts: Iterable[str],
    *,
    k: int,
    confidence: bool,
    style: Style,
    max_tokens: int,
    has_shots: bool | None = None,
) -> int:
    """Most tokens of a completion, after a check that the model can read the prompts and write the answers.

    Of back-ends without a tokenizer here, such as servers, the stop strings alone are checked.

    Args:
        generator: the back-end.
        prompts: that it will be asked.
        k: answers asked for.
        confidence: whether confidences are asked for.
        style: of the prompts, whose notation is asked for.
        max_tokens: longest completion.
        has_shots: whether the model is shown the format; by default whether its prompts have few-shot examples.

    Raises:
        ConfigError: a stop string cuts the answer format, the tokenizer loses it, or the context has no room for it.
    """
    check_stops(getattr(generator, "chat", Chat()).stop, k=k, confidence=confidence, style=style)
    encode = getattr(generator, "encode", None)
    if encode is None:
        return max_tokens
    longest = max((len(encode(prompt)) for prompt in dict.fromkeys(prompts)), default=0)
    return check_reading(
        generator.tokenizer,
        generator.context,
        longest,
        k=k,
        confidence=confidence,
        style=style,
        max_tokens=max_tokens,
        has_shots=bool(generator.chat.shots) if has_shots is None else has_shots,
    )
