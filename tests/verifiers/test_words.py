"""Numbers, dates, plurals and accents: one spelling for each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.verifiers.words import CARDINALS, spell

UNITS = [word for word, n in CARDINALS.items() if 0 < n < 20]
TENS = [word for word, n in CARDINALS.items() if n >= 20]


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("seven", "7"),
        ("twenty three", "23"),
        ("one hundred", "100"),
        ("one hundred and five", "105"),
        ("three thousand four hundred and twenty one", "3421"),
        ("two million", "2000000"),
        ("2.5 million", "2500000"),
        ("1.5 million dollars", "1500000 dollar"),
        ("nineteen eighty four", "1984"),
        ("twenty twenty", "2020"),
        ("four two", "4 2"),
        ("twenty three four", "23 4"),
        ("zero zero seven", "0 0 7"),
        ("one and two", "1 and 2"),
        ("salt and pepper", "salt and pepper"),
        ("third", "3th"),
        ("3rd", "3th"),
        ("twenty first century", "21th century"),
        ("hundredth anniversary", "100th anniversary"),
        ("july 4 1776", "july 4 1776"),
        ("4 july 1776", "july 4 1776"),
        ("4th of july", "july 4"),
        ("the fourth of july", "the july 4"),
        ("04 feb", "february 4"),
        ("sept 2001", "september 2001"),
        ("may the fourth", "may the 4th"),
        ("jan vermeer", "jan vermeer"),
        ("march 32", "march 32"),
        ("cats", "cat"),
        ("glasses", "glass"),
        ("cities", "city"),
        ("bus virus paris glass", "bus virus paris glass"),
        ("ties", "tie"),
        ("señor müller", "senor muller"),
        ("å", "å"),
        ("ガ", "ガ"),
    ],
)
def test_spelling(text: str, spelt: str) -> None:
    assert " ".join(spell(text.split())) == spelt


def in_words(n: int) -> list[str]:
    """Cardinal number from 1 to 999,999 in English words, written from the rules of a grammar."""
    if n >= 1000:
        return [*in_words(n // 1000), "thousand", *(in_words(n % 1000) if n % 1000 else [])]
    if n >= 100:
        return [UNITS[n // 100 - 1], "hundred", *(["and", *in_words(n % 100)] if n % 100 else [])]
    if n >= 20:
        return [TENS[n // 10 - 2], *(in_words(n % 10) if n % 10 else [])]
    return [UNITS[n - 1]]


@settings(derandomize=True)
@given(st.integers(1, 999_999))
def test_every_number_in_words_is_its_digits(n: int) -> None:
    assert spell(in_words(n)) == [str(n)]
    assert spell(["about", *in_words(n), "people"]) == ["about", str(n), "people"]
