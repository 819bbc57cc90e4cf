"""Where each token of a completion starts in its decoded text, so that spans of characters become tokens.

The text is what the reward saw, ``tokenizer.decode(ids, skip_special_tokens=True)``. Three ways to take it apart, the
next one only where the one before does not give that text exactly:

1. Every token decoded by itself, remembered by its id. Right for word-level vocabularies and for byte-level ones as
   long as no character is spread over several tokens.
2. A few tokens at a time, until their end is the end of a character.
3. Growing prefixes, as long as the text they share with the whole. Always right, and slow.

Where a chat template takes reasoning and reply apart, the reward saw them put together again, with other white space
between them. What follows the reasoning is then looked for in the decoded text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from polymode.training.ledger import reply_of

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TokenStarts:
    """Starts of tokens, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._decode = partial(tokenizer.decode, skip_special_tokens=True)
        self._pieces: dict[int, str] = {}

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
        if decoded == text:
            return self._in(decoded, ids)
        reply = reply_of(text)
        at = decoded.rfind(reply)
        if at < 0:
            return [len(text)] * len(ids)
        shift = text.rfind(reply) - at
        return [min(max(start + shift, 0), len(text)) for start in self._in(decoded, ids)]

    def _in(self, decoded: str, ids: Sequence[int]) -> list[int]:
        pieces = [self._piece(i) for i in ids]
        if "".join(pieces) != decoded:
            pieces = self._by_characters(ids)
        if "".join(pieces) != decoded:
            return self._by_prefixes(ids, decoded)
        return list(accumulate(map(len, pieces), initial=0))[:-1]

    def _piece(self, token: int) -> str:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._decode([token])
        return piece

    def _by_characters(self, ids: Sequence[int]) -> list[str]:
        """Text that each token adds; all tokens of one character but the last add nothing.

        The tokens of the last two runs stay before a new one, because a token may be written differently at the start.
        """
        pieces: list[str] = []
        before, start = 0, 0
        for end in range(1, len(ids) + 1):
            shorter, longer = self._decode(list(ids[before:start])), self._decode(list(ids[before:end]))
            if longer.endswith(_BROKEN) and end < len(ids):
                pieces.append("")
                continue
            pieces.append(longer[len(shorter) :])
            before, start = start, end
        return pieces

    def _by_prefixes(self, ids: Sequence[int], text: str) -> list[int]:
        lengths = [_shared(self._decode(list(ids[:end])), text) for end in range(len(ids))]
        return list(accumulate(lengths, max))


def _shared(a: str, b: str) -> int:
    """Length of the longest common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
