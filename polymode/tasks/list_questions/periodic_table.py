"""Period, group and block of the elements, computed from the order of their atomic numbers (layer L3).

Group 3 holds scandium, yttrium, lutetium and lawrencium, and the f-block lanthanum to ytterbium and actinium to
nobelium, as the IUPAC's provisional report of 2021 recommends (doi:10.1515/ci-2021-0103).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LAST_OF_PERIOD = (2, 10, 18, 36, 54, 86, 118)
_NUMBER_WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def place(number: int) -> tuple[int, int | None, str]:
    """Period, group (None in the f-block) and block of an atomic number.

    >>> place(1), place(2), place(26), place(57), place(71), place(118)
    ((1, 1, 's'), (1, 18, 's'), (4, 8, 'd'), (6, None, 'f'), (6, 3, 'd'), (7, 18, 'p'))
    """
    period = next(i for i, last in enumerate(_LAST_OF_PERIOD, 1) if number <= last)
    to_noble_gas = _LAST_OF_PERIOD[period - 1] - number
    if number == 2:
        return 1, 18, "s"
    from_start = number - (_LAST_OF_PERIOD[period - 2] if period > 1 else 0)
    if from_start <= 2:
        return period, from_start, "s"
    if to_noble_gas <= 5:
        return period, 18 - to_noble_gas, "p"
    return (period, 18 - to_noble_gas, "d") if to_noble_gas <= 15 else (period, None, "f")


def periodic_conditions(names: Sequence[str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Kind, phrase and members of each condition on an element's place; ``names`` in order of atomic number."""
    places = {name: place(number) for number, name in enumerate(names, 1)}
    for period in range(1, 8):
        phrase = f"in the {_NUMBER_WORDS[period - 1]} period of the periodic table"
        yield "period", phrase, frozenset(name for name, own in places.items() if own[0] == period)
    for group in range(1, 19):
        phrase = f"in group {group} of the periodic table"
        yield "family", phrase, frozenset(name for name, own in places.items() if own[1] == group)
    for block in "spdf":
        phrase = f"in the {block}-block of the periodic table"
        yield "family", phrase, frozenset(name for name, own in places.items() if own[2] == block)
    for first, last in ((1, 20), *((n + 1, n + 10) for n in range(0, 80, 10)), (81, 92)):
        phrase = f"with an atomic number from {first} to {last}"
        yield "number", phrase, frozenset(names[first - 1 : last])
    yield "number", "heavier than uranium by atomic number", frozenset(names[92:])
