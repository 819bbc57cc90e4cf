"""Words of short answers in one spelling: numbers, ordinals, dates, plurals, accents (layer L1).

Each rule maps a word or a run of words to one form, so equality of the results stays an equivalence. Only what English
writes in several ways without a change of meaning is mapped; no word is ever left out here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

_UP_TO_NINETEEN = """
zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
CARDINALS = {word: n for n, word in enumerate(_UP_TO_NINETEEN.split())} | {
    word: 20 + 10 * n for n, word in enumerate(_TENS.split())
}
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_IRREGULAR = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
ORDINALS = (
    {f"{word.removesuffix('y')}ieth" if word.endswith("y") else f"{word}th": n for word, n in CARDINALS.items() if n}
    | _IRREGULAR
    | {"hundredth": 100}
)
_NUMBER_WORDS = frozenset(CARDINALS) | frozenset(SCALES) | frozenset(ORDINALS)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DAY = re.compile(r"0?[1-9]|[12]\d|3[01]")

_MONTHS = "january february march april may june july august september october november december"
MONTHS = {name: name for name in _MONTHS.split()} | {name[:3]: name for name in _MONTHS.split()} | {"sept": "september"}

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})
"""Latin letters that Unicode does not decompose into a plain letter and a mark."""


def spell(words: Sequence[str]) -> list[str]:
    """``words`` (lower case, without punctuation) in one spelling.

    >>> spell("twenty first of july".split()), spell(["two", "hundred", "café", "tables"])
    (['july', '21'], ['200', 'cafe', 'table'])
    """
    out = list(words)
    if not _NUMBER_WORDS.isdisjoint(out):
        out = _numbers(out)
    if not MONTHS.keys().isdisjoint(out):
        out = _dates(out)
    return [_word(word) for word in out]


@lru_cache(maxsize=1 << 14)
def _word(word: str) -> str:
    """A single word without accents and plural ending, an ordinal with its English suffix."""
    if not word.isalpha():
        ordinal = _ORDINAL.fullmatch(word)
        return f"{int(ordinal[1])}th" if ordinal and len(word) < 20 else word
    return _singular(word if word.isascii() else _without_accents(word))


def _without_accents(word: str) -> str:
    """Latin and Greek letters without their marks.

    Marks of other scripts make another letter (Cyrillic й, Japanese が), and so does the mark of a letter that stands
    alone: Å is a unit and no A.
    """
    if len(word) == 1:
        return word
    out: list[str] = []
    for char in unicodedata.normalize("NFD", word.translate(_LETTERS)):
        base = out[-1] if out else ""
        if "\u0300" <= char <= "\u036f" and (base.isascii() or "\u0370" <= base <= "\u03ff"):
            continue
        out.append(char)
    return unicodedata.normalize("NFC", "".join(out))


_NAMES = """
    abrahams adams andrews daniels davids edwards evans hughes humphreys isaacs jacobs james johns josephs matthews
    michaels owens peters phillips richards roberts rogers samuels simons stephens stevens walters williams
"""
_SURNAMES = frozenset(_NAMES.split())
"""Surnames that are a first name and an s: another person, and no plural."""


def _singular(word: str) -> str:
    """The word without a regular plural ending; short words, surnames and those in -ss, -us, -is stay."""
    if len(word) < 4 or word[-1] != "s" or word[-2] in "sui" or not word.isascii() or word in _SURNAMES:
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word[:-1]


def _numbers(words: list[str]) -> list[str]:
    """Runs of number words as digits: ``two hundred and five`` is 205, ``1.5 million`` 1500000, ``twenty first`` 21th.

    A run ends where English would not go on (``four two`` is two numbers), except that two-digit numbers in words make
    a year: ``nineteen eighty four`` is 1984.
    """
    out: list[str] = []
    i = 0
    while i < len(words):
        length, text = _run(words, i)
        out.append(text if length else words[i])
        i += length or 1
    return out


def _run(words: list[str], start: int) -> tuple[int, str]:
    """Number of words of the run that starts here (0: none), and its digits."""
    total = Decimal(0)  # the run so far is total + group
    group: Decimal | None = None  # None: nothing read since the last scale
    is_century = False
    i = start
    while i < len(words):
        word = words[i]
        cardinal, scale, ordinal = CARDINALS.get(word), SCALES.get(word), ORDINALS.get(word)
        if cardinal is not None and _continues(group, cardinal):
            group = (group or 0) + Decimal(cardinal)
        elif cardinal is not None and group is not None and i == start + 1 and 10 <= group < 100 and cardinal >= 10:
            group, is_century = group * 100 + cardinal, True
        elif scale == 100 and not is_century and (group is None or group < 100):
            group = (Decimal(1) if group is None else group) * 100
        elif scale is not None and scale > 100 and (group is not None or i == start):
            total, group = total + (1 if group is None else group) * scale, None
        elif ordinal is not None and _continues(group, ordinal) and (group is not None or total or i == start):
            return i + 1 - start, f"{_digits(total + (group or 0) + ordinal)}th"
        elif (
            i == start
            and _NUMBER.fullmatch(word)
            and len(word) < 20
            and not SCALES.keys().isdisjoint(words[i + 1 : i + 2])
        ):
            group = Decimal(word)
        elif word == "and" and i > start and group != 0 and words[i - 1] in SCALES and _goes_on(words, i + 1):
            pass
        else:
            break
        i += 1
    return (i - start, _digits(total + (group or 0))) if i > start else (0, "")


def _continues(group: Decimal | None, value: int) -> bool:
    """Whether ``value`` can follow what was read since the last scale: 20 and 3, 200 and 15, but not 4 and 2."""
    if group is None:
        return True
    if value == 0 or group % 1:
        return False
    return (group % 100 == 0 and group > 0 and value < 100) or (group % 10 == 0 and group % 100 >= 20 and value < 10)


def _goes_on(words: list[str], i: int) -> bool:
    return i < len(words) and (words[i] in CARDINALS or words[i] in ORDINALS)


def _digits(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _dates(words: list[str]) -> list[str]:
    """``4 july 1776``, ``4th of july 1776`` and ``july 4th 1776`` as ``july 4 1776``; short names of months in full."""
    out: list[str] = []
    i = 0
    while i < len(words):
        day = _day(words[i])
        month_at = i + 2 if words[i + 1 : i + 2] == ["of"] else i + 1
        month = MONTHS.get(words[month_at]) if day and month_at < len(words) else None
        if day and month:
            out += [month, day]
            i = month_at + 1
            continue
        month = MONTHS.get(words[i])
        following = words[i + 1] if month and i + 1 < len(words) else ""
        if month and (day := _day(following)):
            out += [month, day]
            i += 2
            continue
        out.append(month if month and following.isdigit() else words[i])
        i += 1
    return out


def _day(word: str) -> str:
    """The day of a month that ``word`` is, without suffix and leading zero; empty when it is none."""
    ordinal = _ORDINAL.fullmatch(word)
    number = ordinal[1] if ordinal else word
    return str(int(number)) if _DAY.fullmatch(number) else ""
