"""Questions from tables: every condition, condition on the name, and pair of them that enough items meet (layer L3)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from polymode.tasks.held_out import text_hash
from polymode.tasks.list_questions.tables import Condition, Item, Table, read_tables
from polymode.types import Reference

MIN_ANSWERS = 5
"""Fewest right answers of a question."""
MIN_NAMED_ITEMS = 12
"""Items of a table from which on its questions also ask about names."""
MAX_SHARE = 0.9
"""Each of two conditions must leave out at least a tenth of what the other lets through, else it is only words."""
MAX_PAIRS = 80
"""Questions with two conditions for each table, chosen by hash, so that countries do not outnumber the rest."""
_TEMPLATES = ("Name {}.", "Can you name {}?", "Give an example of {}.", "Tell me {}.")
_ARTICLES = {"US": "a", "university": "a", "HTTP": "an", "capital": "the"}
"""Of words whose first letter does not tell."""
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RARE_LETTERS = "JKQVWXYZ"
_NUMBERS = {"four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_SPELLINGS: Mapping[str, Callable[[str], bool]] = {
    **{f"whose name starts with the letter {x}": lambda name, x=x: name.startswith(x) for x in _ALPHABET},
    **{f"whose name ends with the letter {x}": lambda name, x=x: name.endswith(x) for x in _ALPHABET},
    **{f"whose name contains the letter {x}": lambda name, x=x: x in name for x in _RARE_LETTERS},
    **{
        f"whose name is a single word of {word} letters": lambda name, n=n: name.isalpha() and len(name) == n
        for word, n in _NUMBERS.items()
    },
}
"""Conditions on a name in capital letters without accents."""


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """A question and everything that answers it."""

    name: str
    """Noun and conditions, which decide the wording and the split."""
    text: str
    references: tuple[Reference, ...]
    others: tuple[str, ...]
    """First names of the items of its table that are no answer."""
    topic: str
    """Noun of its table."""
    n_conditions: int
    """0, 1 or 2."""


@cache
def list_questions() -> tuple[ListQuestion, ...]:
    """Every question; no two of a table have the same right answers."""
    return tuple(question for table in read_tables() for question in _questions(table))


def capitals_only(name: str) -> str:
    """The name in capital letters without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c)).upper()


def article(name: str) -> str:
    """What goes before ``name``: ``a``, ``an`` or ``the``."""
    word = name.split()[0]
    return _ARTICLES.get(word, "an" if word[0] in "aeiouAEIO" else "a")


def _questions(table: Table) -> Iterator[ListQuestion]:
    on_names = _name_conditions(table)
    pairs = sorted(_pairs(table, on_names), key=lambda pair: text_hash(f"{table.noun} {_joined(pair)}"))
    singles: list[tuple[Condition, ...]] = [(), *((one,) for one in (*table.conditions, *on_names))]
    answers_before: set[frozenset[str]] = set()
    n_pairs = 0
    for chosen in [*singles, *pairs]:
        members = frozenset(table.items).intersection(*(one.members for one in chosen))
        n_pairs += len(chosen) == 2 and members not in answers_before
        if members in answers_before or n_pairs > MAX_PAIRS:
            continue
        answers_before.add(members)
        if len(members) >= MIN_ANSWERS:
            yield _question(table, chosen, members)


def _question(table: Table, chosen: tuple[Condition, ...], members: frozenset[str]) -> ListQuestion:
    spelling = next((one.phrase for one in chosen if one.is_on_name), None)
    noun = table.noun if spelling is None else table.name_noun or table.noun
    name = f"{noun} {_joined(chosen)}".strip()
    return ListQuestion(
        name=name,
        text=_TEMPLATES[text_hash(name) % len(_TEMPLATES)].format(f"{article(name)} {name}"),
        references=tuple(_reference(item, spelling) for first, item in table.items.items() if first in members),
        others=tuple(first for first in table.items if first not in members),
        topic=table.noun,
        n_conditions=len(chosen),
    )


def _reference(item: Item, spelling: str | None) -> Reference:
    """The item by its names, or by those of them that meet the condition on names."""
    meets = _meeting(spelling)
    first, *rest = filter(meets, item.names)
    return Reference(first, (*rest, *filter(meets, item.short)))


def _meeting(spelling: str | None) -> Callable[[str], bool]:
    return lambda name: spelling is None or _SPELLINGS[spelling](capitals_only(name))


def _joined(chosen: tuple[Condition, ...]) -> str:
    """The phrases of at most two conditions; two clauses are joined with "and"."""
    phrases = [one.phrase for one in chosen]
    if len(chosen) == 2 and chosen[0].is_clause:
        start = phrases[0].split()[0]
        phrases[1] = "and " + phrases[1].removeprefix(f"{start} " if start in ("that", "who") else "")
    return " ".join(phrases)


def _pairs(table: Table, on_names: list[Condition]) -> Iterator[tuple[Condition, ...]]:
    """Two conditions of different kinds, each of which leaves out some of what the other lets through."""
    of_facts = combinations(table.conditions, 2)
    with_name = ((a, b) for a in table.conditions for b in on_names if not table.name_noun)
    for a, b in (*of_facts, *with_name):
        n_both = len(a.members & b.members)
        if a.kind == b.kind or not MIN_ANSWERS <= n_both <= MAX_SHARE * min(len(a.members), len(b.members)):
            continue
        first, second = sorted((a, b), key=lambda one: one.is_clause)
        if second.is_clause:  # not "in Africa on the Equator"
            yield first, second


def _name_conditions(table: Table) -> list[Condition]:
    if len(table.items) < MIN_NAMED_ITEMS or table.name_noun is None:
        return []
    spelled = {first: list(map(capitals_only, item.names)) for first, item in table.items.items()}
    members = {
        phrase: frozenset(first for first, names in spelled.items() if any(map(is_met, names)))
        for phrase, is_met in _SPELLINGS.items()
    }
    return [Condition("name", phrase, own, is_on_name=True) for phrase, own in members.items()]
