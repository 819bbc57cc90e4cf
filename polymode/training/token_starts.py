"""Where each token of a completion starts in its decoded text, so that spans of characters become tokens.

The text is what the reward saw, ``tokenizer.decode(ids, skip_special_tokens=True)``. Three ways to take it apart, the
next one only where the one before does not give that text exactly: every token by itself, remembered by its id; the
stream decoder of `tokenizers`, where a character is spread over several tokens; growing prefixes, as long as the text
that they share with the whole, which is always right and slow.

Where a chat template takes reasoning and reply apart, the reward saw them put together again, with other white space
between them. What follows the reasoning is then looked for in the decoded text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import accumulate, takewhile
from typing import Any

END_THINK = "</think>"


class TokenStarts:
    """Starts of tokens, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._decode = partial(tokenizer.decode, skip_special_tokens=True)
        self._piece = cache(lambda token: self._decode([token]))
        self._backend = getattr(tokenizer, "backend_tokenizer", None)

    def __call__(self, ids: Sequence[int], text: str) -> list[int]:
        """First character of each token in ``text``, shape (T,), not decreasing, at most ``len(text)``.

        A token that ends no character (part of a multi-byte one) starts where that character does. A token that the
        text leaves out (end of text) starts where the next one does. All start at the end when ``text`` is not what
        the tokens say.

        Args:
            ids: the completion's tokens, without padding.
            text: what the reward saw of them.
        """
        decoded = self._decode(list(ids))
        reply = text if decoded == text else reply_of(text)
        at = decoded.rfind(reply)
        if at < 0:
            return [len(text)] * len(ids)
        shift = text.rfind(reply) - at
        return [min(max(start + shift, 0), len(text)) for start in self._starts(decoded, ids)]

    def _starts(self, decoded: str, ids: Sequence[int]) -> list[int]:
        pieces = [self._piece(i) for i in ids]
        if "".join(pieces) != decoded and self._backend is not None:
            from tokenizers.decoders import DecodeStream

            stream = DecodeStream(skip_special_tokens=True)
            pieces = [stream.step(self._backend, i) or "" for i in ids]
        if "".join(pieces) == decoded:
            return list(accumulate(map(len, pieces), initial=0))[:-1]
        prefixes = (self._decode(list(ids[:end])) for end in range(len(ids)))
        return list(accumulate((_shared(prefix, decoded) for prefix in prefixes), max))


def _shared(a: str, b: str) -> int:
    """Length of the longest common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def reply_of(text: str) -> str:
    """What follows the reasoning, without white space around it."""
    return text.rpartition(END_THINK)[2].strip()
