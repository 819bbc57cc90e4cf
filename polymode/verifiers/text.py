"""Equality of short texts after normalising both sides in the manner of SQuAD (layer L1).

Rajpurkar et al., SQuAD, https://arxiv.org/abs/1606.05250, compare answers in lower case, without punctuation and
articles, with single spaces. Four departures, each because the original calls different answers equal, or fails outside
English ASCII:

- Unicode: NFKC and case folding, all Unicode punctuation and invisible format characters go.
- An article goes only in front of another word: ``hepatitis a`` is not ``hepatitis``, and ``a`` is not empty.
- The decimal point and the minus sign of a number stay: ``1.5`` is not ``15``, ``-5`` is not ``5``.
- A text of nothing but punctuation keeps it: ``+`` is not ``-``.

It knows no mathematics and no synonyms: ``1/2`` and ``0.5`` differ, and so do ``flu`` and ``influenza``.
"""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from polymode.types import Reference

ARTICLES = frozenset({"a", "an", "the"})
_CACHED_CHARS = 256  # longer texts are rare and would make the cache large
_ASCII_PUNCTUATION = string.punctuation.encode()
_MINUS = str.maketrans("\u2212", "-")
# The point or minus sign of a number: ``1.5``, ``.5``, ``-5``, ``-.5``.
_NUMBER_MARK = re.compile(r"(?<!\S)-(?=\.?\d)|(?:(?<=\d)|(?<!\S)|(?<=\s-)|(?<=^-))\.(?=\d)")


class _Dropped(dict[int, int | None]):
    """A translation table, filled as characters are met, that drops punctuation.

    Dropped are ASCII punctuation and symbols, as in SQuAD, and the Unicode categories P (punctuation) and Cf (invisible
    format characters).
    """

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        category = unicodedata.category(char)
        self[code] = None if char in string.punctuation or category[0] == "P" or category == "Cf" else code
        return self[code]


_DROPPED = _Dropped()


@dataclass(frozen=True, slots=True)
class TextVerifier:
    """Two texts are the same answer when their normalised forms are equal. Never faults."""

    def key(self, text: str) -> str:
        """Normalised form of ``text``."""
        return _cached(text) if len(text) <= _CACHED_CHARS else normalise(text)

    def same(self, a: str, b: str) -> bool:
        """Whether the normalised forms are equal."""
        return self.key(a) == self.key(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` equals one of the reference's names."""
        key = self.key(answer)
        return any(self.key(name) == key for name in reference.names)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles before a word, single spaces; linear in the length of ``text``.

    >>> normalise("The  Flu."), normalise("Hepatitis A"), normalise("-1.50 m")
    ('flu', 'hepatitis a', '-1.50 m')
    """
    folded = text.lower() if text.isascii() else _fold(text)
    has_marks = "." in folded or "-" in folded
    words = (_without_punctuation(folded) if has_marks else _without_marks(folded)).split()
    if not words:
        return " ".join(folded.split())
    if not ARTICLES.isdisjoint(words):
        words = [word for word in words[:-1] if word not in ARTICLES] + words[-1:]
    return " ".join(words)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_MINUS)


def _without_punctuation(text: str) -> str:
    parts: list[str] = []
    position = 0
    for mark in _NUMBER_MARK.finditer(text):
        parts += [_without_marks(text[position : mark.start()]), mark[0]]
        position = mark.end()
    return "".join([*parts, _without_marks(text[position:])])


def _without_marks(text: str) -> str:
    if text.isascii():  # the usual case, three times as fast by bytes
        return text.encode().translate(None, _ASCII_PUNCTUATION).decode()
    return text.translate(_DROPPED)


_cached = lru_cache(maxsize=1 << 16)(normalise)
