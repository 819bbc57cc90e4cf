"""Stop strings among sampled tokens (layer L3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from polymode.decoding.texts import CompletionDecoder

_TOKENS_OF_A_CHARACTER = 4
"""Most tokens of one character: byte-level tokenizers may spell its UTF-8 bytes one by one."""


class StopStrings:
    """Finds where a completion ends because of a text in it.

    Args:
        decode: the text of tokens, not yet cut off.
        texts: the stop strings.
    """

    def __init__(self, decode: CompletionDecoder, texts: Sequence[str]) -> None:
        self._decode, self._texts = decode, tuple(texts)
        self.window = _TOKENS_OF_A_CHARACTER * max(map(len, texts))
        """Tokens that the longest stop string may take."""

    def are_in(self, tokens: Sequence[int]) -> bool:
        """Whether the text of the tokens holds a stop string."""
        text = self._decode(tokens)
        return any(stop in text for stop in self._texts)

    def until_stop(self, tokens: list[int]) -> list[int]:
        """The tokens up to the one that completes the first stop string; all of them where there is none."""
        if not self.are_in(tokens):
            return tokens
        low, high = 1, len(tokens)  # more tokens never make a stop string disappear
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.are_in(tokens[:middle]) else (middle + 1, high)
        return tokens[:low]

    def criteria(self, n_prompt: int) -> StoppingCriteria:
        """For transformers' `generate`, with prompts padded to ``n_prompt`` tokens."""
        return _Criteria(self, n_prompt)


class _Criteria(StoppingCriteria):
    def __init__(self, stops: StopStrings, n_prompt: int) -> None:
        self._stops, self._n_prompt = stops, n_prompt

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        tails = input_ids[:, max(self._n_prompt, input_ids.shape[1] - self._stops.window - 1) :].tolist()
        return torch.tensor([self._stops.are_in(tail) for tail in tails], device=input_ids.device)
