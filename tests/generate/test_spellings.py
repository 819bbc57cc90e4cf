"""Spellings of words as tokens, and their probability, against enumeration."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.generate.spellings import NEGLIGIBLE, Spelling, spelled_probabilities, tokens_of


class Characters:
    """A tokenizer of characters; some pairs are one token, and ``?`` is unknown."""

    pairs, unk_token_id = ("Tr", "\n\n"), 0

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = []
        while text:
            width = 2 if text[:2] in self.pairs else 1
            ids.append(0 if text[0] == "?" else hash_of(text[:width]))
            text = text[width:]
        return {"input_ids": ids}


def hash_of(piece: str) -> int:
    return sum(ord(char) << (8 * place) for place, char in enumerate(piece))


def ids(*pieces: str) -> tuple[int, ...]:
    return tuple(map(hash_of, pieces))


def test_a_word_is_looked_at_by_itself_and_behind_a_line_break() -> None:
    assert tokens_of([["Try"], ["\nA"]], Characters()) == [
        Spelling(0, ids("Tr", "y")),
        Spelling(1, ids("\n", "A")),  # behind a line break both breaks would be one token
    ]


def test_what_a_counted_spelling_begins_with_counts_once_and_unknown_words_never() -> None:
    assert tokens_of([["A", "AB", "C?"], ["?"]], Characters()) == [Spelling(0, ids("A"))]
    with pytest.raises(ConfigError, match="writes 'A' and 'A' alike"):
        tokens_of([["A"], ["B", "A"]], Characters())


P = {"": {1: 0.5, 2: 0.3, 3: 0.2}, "1": {1: 0.1, 2: 0.6, 3: 0.3}, "12": {1: 0.25, 2: 0.25, 3: 0.5}}


def next_probabilities(rows: list[list[int]], wanted: Sequence[int]) -> list[list[float]]:
    return [[P["".join(map(str, row[1:]))][token] for token in wanted] for row in rows]


def test_the_probability_of_several_tokens_is_their_product() -> None:
    # Group 0: 2, or 1 1, or 1 2 3: .3 + .5 x .1 + .5 x .6 x .5 = .5; group 1: 1 3 = .15.
    spellings = [Spelling(0, (2,)), Spelling(0, (1, 1)), Spelling(0, (1, 2, 3)), Spelling(1, (1, 3))]
    assert spelled_probabilities([[9], [9]], spellings, 3, next_probabilities) == [pytest.approx([0.5, 0.15, 0.0])] * 2
    assert spelled_probabilities([[9]], [], 1, next_probabilities) == [[0.0]]


@given(data=st.data())
def test_it_is_the_mass_of_all_sequences_that_begin_with_a_spelling(data: st.DataObject) -> None:
    tokens, length = (0, 1, 2), 3
    weight = st.floats(0.05, 1.0)
    tree = {
        prefix: data.draw(st.tuples(weight, weight, weight))
        for n in range(length)
        for prefix in product(tokens, repeat=n)
    }
    drawn = data.draw(st.lists(st.sampled_from([s for n in (1, 2, 3) for s in product(tokens, repeat=n)]), unique=True))
    free = [s for s in drawn if not any(s[:end] in drawn for end in range(1, len(s)))]
    spellings = [Spelling(number % 2, s) for number, s in enumerate(free)]

    def p(prefix: tuple[int, ...], token: int) -> float:
        return tree[prefix][token] / sum(tree[prefix])

    def ask(rows: list[list[int]], wanted: Sequence[int]) -> list[list[float]]:
        return [[p(tuple(row), token) for token in wanted] for row in rows]

    expected = [0.0, 0.0]
    for sequence in product(tokens, repeat=length):
        mass = p((), sequence[0]) * p(sequence[:1], sequence[1]) * p(sequence[:2], sequence[2])
        for group, spelling in spellings:
            if sequence[: len(spelling)] == spelling:
                expected[group] += mass
    assert spelled_probabilities([[]], spellings, 2, ask)[0] == pytest.approx(expected, abs=len(free) * NEGLIGIBLE)
