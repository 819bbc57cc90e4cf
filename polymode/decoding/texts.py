"""Sampled tokens to text. Everything the model wrote stands in it, so that nothing it finally says is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polymode.chat import has_template
from polymode.prompts import reasoning_opened_by

_TAIL = 16
"""Tokens at the end of a prompt that are looked at: ``<think>`` is up to five, then comes white space."""


class CompletionDecoder:
    """Text of a completion's tokens, without end, start and padding.

    Other special tokens stay: many tokenizers register ``<think>`` and ``</think>`` as special, and without them
    drafts inside the reasoning would read as answers.

    Args:
        tokenizer: of transformers.
        ends: further tokens that end a completion, such as those of the model's generation config; None is left out.
        cut: cuts off the text at a stop string (`polymode.chat.Chat.cut`).
    """

    def __init__(
        self, tokenizer: Any, ends: Iterable[int | None] = (), cut: Callable[[str], str] = lambda text: text
    ) -> None:
        self.tokenizer, self._cut = tokenizer, cut
        own = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id)
        self.silent = frozenset({*own, *ends} - {None})
        """Tokens that leave no text."""

    def __call__(self, ids: Iterable[int]) -> str:
        """The text, as `polymode.parse_answers` takes it."""
        return self._cut(self.tokenizer.decode([i for i in ids if i not in self.silent], skip_special_tokens=False))


def opening_of(tokenizer: Any, prompt_ids: Sequence[int]) -> str:
    """What a prompt opens for its completions, by its tokens (`polymode.prompts.reasoning_opened_by`)."""
    return reasoning_opened_by(tokenizer.decode(list(prompt_ids[-_TAIL:]), skip_special_tokens=False))


def ends_of(model: Any) -> tuple[int, ...]:
    """End tokens of a model's generation config; none where it names none."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return () if ends is None else tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)


def all_ends_of(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends a completion: of the generation config, the tokenizer, and the chat template's turns.

    Instruction-tuned models end a turn with a token such as ``<|im_end|>``, which is not always the one that their
    tokenizer or generation config calls the end token.
    """
    ends = (*ends_of(model), tokenizer.eos_token_id, *_turn_ends(tokenizer))
    return tuple(sorted({end for end in ends if end is not None}))


def set_padding(tokenizer: Any) -> None:
    """Give a tokenizer without a padding token one that leaves no text anyway; what is padded is masked everywhere."""
    if tokenizer.pad_token is None:
        tokens = (tokenizer.eos_token_id, *_turn_ends(tokenizer), tokenizer.bos_token_id)
        tokenizer.pad_token_id = next((token for token in tokens if token is not None), None)


def _turn_ends(tokenizer: Any) -> tuple[int, ...]:
    """The special token that the chat template writes behind a reply, if it writes one."""
    if not has_template(tokenizer):
        return ()
    reply = "polymode"
    chat = [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False)
    except Exception:  # a template that wants something else: it names no end
        return ()
    _, mark, tail = text.rpartition(reply)
    ids = tokenizer(tail.strip(), add_special_tokens=False)["input_ids"] if mark else []
    token = tokenizer.added_tokens_decoder.get(ids[0]) if ids else None
    return (ids[0],) if token is not None and token.special else ()
