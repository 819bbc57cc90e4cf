"""Equality of short texts: the same answer in another spelling, never another answer (layer L1).

It starts from SQuAD (Rajpurkar et al., https://arxiv.org/abs/1606.05250), which compares answers in lower case, without
punctuation and articles. That makes different answers equal (``O-`` and ``O+``, ``C`` and ``C++``, ``1/2`` and ``12``),
so here a mark goes only where it carries no meaning:

- A mark stays between digits (``12:30``, ``1/2``, ``5-3``, ``1.2.3``), except the commas of thousands.
- A sign stays before a number (``-5``, also written ``(-5)``, ``-$5`` or with a dash) and after a word (``O-``,
  ``Na+``, ``C#``, ``A*``, ``5!``); so do powers and comparisons (``10^5``, ``10⁵``, ``<5``). ``%`` is the word percent.
- An article goes only before another word, and not where it is a letter: ``hepatitis a`` is not ``hepatitis``,
  ``A minor`` not ``minor``, ``type A blood`` not ``type blood``.
- What is left as spelling goes: case, accents, hyphens and spaces between words (``Spider-Man``, ``Spider Man``),
  quotes, brackets, Markdown, regular plurals; numbers, ordinals and dates in words (`polymode.verifiers.words`).
- A text of nothing but punctuation keeps it: ``+`` is not ``-``.

It knows no mathematics and no synonyms: ``1/2`` and ``0.5`` differ, and so do ``flu`` and ``influenza``. ``$`` is
dropped because a reference rarely repeats it; other currencies stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from polymode.types import Reference
from polymode.verifiers.words import spell

ARTICLES = frozenset({"a", "an", "the"})
_LETTERED_WORDS = (
    "appendix block category class coenzyme factor grade group hemophilia haemophilia hepatitis immunoglobulin"
    " influenza lipoprotein plan point protein schedule section series streptococcus team toxin type unit vitamin"
)
_LETTERED = frozenset(_LETTERED_WORDS.split())
_LETTER_BEFORE = frozenset({"flat", "major", "minor", "sharp"})
"""Words after which, or before which, ``a`` is a letter."""
_CACHED_CHARS = 256  # longer texts are rare and would make the cache large

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_CHARGE = re.compile("(?<=[^\\W_])[⁰¹²³⁴⁵⁶⁷⁸⁹]*[⁺⁻](?![⁰¹²³⁴⁵⁶⁷⁸⁹])")
"""A superscript that ends in its sign is the charge of an ion (Ca²⁺), every other one is a power."""
_FRACTION = re.compile("(?<=\\d)(?=[¼-¾⅐-⅞↉])")
_THOUSANDS_SPACE = re.compile("(?<=\\d)[\u00a0\u2007\u2009\u202f](?=\\d{3}(?!\\d))")
_MINUS = re.compile("^\\s*[\u2013\u2212]\\s+(?=\\d)")
"""A minus sign apart from its number; an ASCII hyphen there is the bullet of a list."""
_DASH = re.compile("(?:(?<=\\d)|(?<![^\\s(]))[\u2014\u2015](?=[$€£¥]?\\.?\\d)")
"""A long dash that is a minus sign or that of a range."""
_SIGNS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d", "-")
    | dict.fromkeys("\u2014\u2015", " ")  # `_DASH` has taken those of numbers
    | dict.fromkeys("™®©℠", " ")
    | dict.fromkeys("\u2044\u2215", "/")
    | dict.fromkeys("×·∙", "*")
    | dict.fromkeys("\u2018\u2019\u2032\u02bb\u02bc\u02bd\u02be\u02bf", "'")  # with those of Hawaiian and Arabic
    | dict.fromkeys("\u201c\u201d\u2033", '"')
    | {"\u2236": ":", "♯": "#", "≤": "<=", "≥": ">=", "°": " degree ", "‰": " permille "}
)
_DIGIT = re.compile(r"\d")
_SPECIAL = re.compile(r"[^\w\s]|_")
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,])")
_LIST = re.compile(r"\d+(?:,\d+){2,}")
_ARTICLE_HYPHEN = re.compile(r"(?<!\w)(a|an|the)-(?=\w)")
_INSIDE_WORD = re.compile(r"(?<=[^\W\d_])['.](?=[^\W_])|(?<=\d)'(?=s\b)")
"""Points and apostrophes that make one word: U.S., O'Brien, 1990's."""
_MEANT = re.compile(
    r"(?=[-+/:*,'\"#!^=.<>])(?:"  # one look at most places, before the choices below
    r"(?<![\w)\]}.%!-])-(?=[€£¥]?\.?\d|[∞√]|[^\W\d_]\b)"  # the sign of a number or a variable
    r"|(?<=\d\de)-(?=\d)|(?<=\b\de)-(?=\d)"  # and of an exponent
    r"|(?<=[\d)%!])[-/:*,'\"](?=[\d(])|(?<=[\d)%] )[-/:*](?= [\d(])"  # between two numbers
    r"|(?<=\w)-(?=$|[\s)\],.;:\"'*`])"  # the sign of a blood group or an ion, an open range
    r"|(?:(?<=\b[^\W\d_] )|(?<=\b[^\W\d_]{2} ))(?:-|\++)(?=\s*$)"
    r"|(?<=\b[^\W\d_])-(?=[^\W\d_]\b)|(?<=\b[^\W\d_] )-(?= (?:\d|[^\W\d_]\b))"  # between two variables
    r"|(?<=\d[^\W\d_])-(?=\d)|(?<=\b[nxyz])-(?=\d)"
    r"|(?<=[\w)+])\+|(?<=\d percent )\+|(?<=[\w)] )\+(?= ?\w)"
    r"|(?<=\w)/(?=[^\W\d_]\b)|(?<=\b[^\W\d_])/(?=\d)"  # metres per second, half of pi
    r"|(?<=[^\W\d_])\#|(?<=\d)!+(?!\w)|(?<=\b[^\W\d_])!|(?<!\S)!(?=\w)"
    r"|(?<=\w)\*+(?=[\w(-])|(?<=\S)\^(?=\S)|(?<=\S)=(?=\S)"
    r"|(?<![\w.])\.(?=\w)|(?<=\d)\.(?=\d)"
    r"|[<>]=?(?= ?[\d.-])|(?<=\w)[<>]=?(?=\w)|(?<=[\w)] )[<>]=?(?= \w))"
)
"""Marks that carry meaning where they stand."""
_SIGN_IN_BRACKETS = re.compile(r"(?<=\w)\s*[(\[]([-+])[)\]]")
"""``O (-)`` is ``O-``."""
_TRAILING = {
    "*": (re.compile(r"(?<!\w)\*+(?=\S)"), re.compile(r"(?<=\w)\*(?!\w)")),
    "'": (re.compile(r"(?<![\w'])'"), re.compile(r"(?:(?<=\d)|(?<=\b[^\W\d_])|(?<=\b[^\W\d_]'))'(?!\w)")),
    '"': (re.compile(r'(?<!\w)"'), re.compile(r'(?<=\d)"(?!\w)')),
}
"""Marks that mean something behind a word (A*, 5', 5") unless the same mark opens what they close (*neon*, '5')."""
_PRIVATE = {mark: chr(0xE000 + i) for i, mark in enumerate("*'\"")}
"""What stands for such a mark until the others are gone; given texts lose these characters first."""
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | frozenset(
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)
"""Characters without a form of their own that Unicode counts as marks or letters, such as variation selectors."""
_PUBLIC = str.maketrans({private: mark for mark, private in _PRIVATE.items()})


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
    """The one form of all spellings of an answer, without the spaces between words; linear in the length of ``text``.

    >>> normalise("The  Spider-Man"), normalise("Hepatitis A"), normalise("-1.50 m"), normalise("4th of July, 1776")
    ('spiderman', 'hepatitisa', '-1.50m', 'july4 1776')
    """
    folded = text.lower() if text.isascii() else _fold(text)
    words = (_without_marks(folded) if _SPECIAL.search(folded) else folded).split()
    if not words:
        return " ".join(folded.split())
    if not ARTICLES.isdisjoint(words):
        words = [
            word
            for before, word, following in zip(["", *words], words, [*words[1:], ""], strict=False)
            if word not in ARTICLES
            or following in ("", "and", "or")
            or not following[0].isalnum()
            or (word == "a" and (before in _LETTERED or following in _LETTER_BEFORE))
        ]
    return _joined(spell(words))


def _fold(text: str) -> str:
    """Lower case and compatible characters in one form; powers and fractions stay apart from what precedes them."""
    text = _DASH.sub("-", _MINUS.sub("-", text.translate(_FORMAT)))
    text = _FRACTION.sub(" ", _THOUSANDS_SPACE.sub("", text.translate(_SIGNS)))
    text = _CHARGE.sub(lambda match: match[0].translate(_SUPERSCRIPTS), text)
    text = _SUPERSCRIPT.sub(lambda match: f"^{match[0].translate(_SUPERSCRIPTS)}", text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return text.translate(_SIGNS)


def _without_marks(text: str) -> str:
    """``text`` with every mark that carries no meaning replaced by a space, or dropped inside a word."""
    text = text.replace("$", "").replace("&", " and ")
    if "," in text:
        text = _LIST.sub(lambda m: m[0].replace(",", " "), _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text))
    if "%" in text:
        text = re.sub(r"(?<=\d)\s?%", " percent ", text)
    for mark, (opening, trailing) in _TRAILING.items():
        if mark in text and not opening.search(text):
            text = trailing.sub(_PRIVATE[mark], text)
    if "-" in text:
        text = _ARTICLE_HYPHEN.sub(r"\1", text)
    if "(" in text or "[" in text:
        text = _SIGN_IN_BRACKETS.sub(r"\1 ", text)
    if "." in text or "'" in text:
        text = _INSIDE_WORD.sub("", text)
    parts: list[str] = []
    position = 0
    for mark in _MEANT.finditer(text):
        parts += [text[position : mark.start()].translate(_BLANKS), mark[0]]
        position = mark.end()
    return "".join([*parts, text[position:].translate(_BLANKS)]).translate(_PUBLIC)


class _Translation(dict[int, int | str | None]):
    """A translation table that is filled as characters are met, by what ``of`` says of a character and its category."""

    def __init__(self, of: Callable[[str, str], str | None]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, code: int) -> int | str | None:
        self[code] = self._of(chr(code), unicodedata.category(chr(code)))
        return self[code]


_FORMAT = _Translation(
    lambda char, category: None if category == "Cf" or char in _INVISIBLE or char in _PRIVATE.values() else char
)
"""Drops characters that are not seen."""
_BLANKS = _Translation(lambda char, category: " " if category[0] == "P" or char in "+<=>^`|~" else char)
"""Punctuation, and what ASCII has of symbols, to spaces."""


def _joined(words: list[str]) -> str:
    """The words without spaces, except between two digits, where a space tells two numbers from one."""
    if not any(map(_DIGIT.search, words)):
        return "".join(words)
    out = words[0]
    for word in words[1:]:
        out += f" {word}" if out[-1:].isdigit() and word[:1].isdigit() else word
    return out


_cached = lru_cache(maxsize=1 << 16)(normalise)
