"""Where each token of a completion starts in its text, so that spans of characters become tokens.

The text is what the reward saw: what `polymode.decoding.texts.CompletionDecoder` makes of the tokens, after the
``<think>`` that the prompt may have opened. Three ways to take it apart, the next one only where the one before does
not give that text exactly: every token by itself, remembered by its id; the stream decoder of `tokenizers`, where a
character is spread over several tokens; growing prefixes, as long as the text that they share with the whole, which is
always right and slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, takewhile

from polymode.decoding.texts import CompletionDecoder


class TokenStarts:
    """Starts of tokens, for one tokenizer."""

    def __init__(self, decode: CompletionDecoder) -> None:
        self._decode = decode
        self._piece = cache(lambda token: decode([token]))
        self._backend = getattr(decode.tokenizer, "backend_tokenizer", None)

    def __call__(self, ids: Sequence[int], text: str) -> list[int]:
        """First character of each token in ``text``, shape (T,), not decreasing, at most ``len(text)``.

        A token that ends no character (part of a multi-byte one) starts where that character does. A token that the
        text leaves out (end of text) starts where the next one does. All start at the end when ``text`` does not end
        with what the tokens say.

        Args:
            ids: the completion's tokens, without padding.
            text: what the reward saw of them; what stands in front of them is the prompt's.
        """
        decoded = self._decode(ids)
        if not text.endswith(decoded):
            return [len(text)] * len(ids)
        shift = len(text) - len(decoded)
        return [shift + start for start in self._starts(decoded, ids)]

    def _starts(self, decoded: str, ids: Sequence[int]) -> list[int]:
        pieces = [self._piece(i) for i in ids]
        if "".join(pieces) != decoded and self._backend is not None:
            from tokenizers.decoders import DecodeStream

            stream = DecodeStream(skip_special_tokens=False)
            pieces = ["" if i in self._decode.silent else stream.step(self._backend, i) or "" for i in ids]
        if "".join(pieces) == decoded:
            return list(accumulate(map(len, pieces), initial=0))[:-1]
        prefixes = (self._decode(ids[:end]) for end in range(len(ids)))
        return list(accumulate((_shared(prefix, decoded) for prefix in prefixes), max))


def _shared(a: str, b: str) -> int:
    """Length of the longest common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
