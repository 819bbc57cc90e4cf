"""Tables of facts, read from the text files of this package (layer L3).

A file holds tables. A line that starts with white space continues the one before; ``#`` starts a comment::

    table: country                              a table and the noun for one of its items
    names: no                                   no questions about the spelling of its items' names
    also: {} gate; Book of {}                   further short forms of each item below, made from its others
    capitals: national capital                  its items have capitals, which make a table of their own
    kind: region                                kind of the conditions below; a question joins at most one of each kind
    items in South America: Peru > Lima; ...    items that all meet the condition "in South America"
    items: United States / ~USA > ...           items without one; full names, then short forms marked ~
    where that is a member of OPEC: Iraq; ...   a condition and who meets it; @phrase takes all of another condition
    borders Peru: Chile; ...                    pairs of neighbours; gives "that borders Peru", "that borders Chile"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from polymode.tasks.list_questions.periodic_table import periodic_conditions

FILES = ("countries.txt", "states.txt", "elements.txt", "lists.txt")


@dataclass(frozen=True, slots=True)
class Item:
    """One possible answer."""

    names: tuple[str, ...]
    """Full names, the most usual one first."""
    short: tuple[str, ...] = ()
    """Abbreviations, symbols, formal names and names in other languages: right as answers, but not "its name"."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What narrows a question down."""

    kind: str
    phrase: str
    """Follows the noun: "in Africa", "that is landlocked"."""
    members: frozenset[str]
    """First names of the items that meet it."""
    is_on_name: bool = False
    """Whether it is about the spelling of a name, so that only names that meet it are right."""

    @property
    def is_clause(self) -> bool:
        """Whether its phrase has a verb of its own, and so may follow another phrase."""
        return self.phrase.startswith(("that ", "whose ", "where ", "who "))


@dataclass(slots=True)
class Table:
    """Things of one kind, and the conditions that some of them meet."""

    noun: str
    items: dict[str, Item] = field(default_factory=dict)
    """By first name."""
    conditions: list[Condition] = field(default_factory=list)
    name_noun: str | None = ""
    """Noun of questions about an item's name, ``noun`` when empty: "a capital of a country whose name" does not say
    whose name is meant. None where names are written in several ways, so that no such question has one answer."""


@cache
def read_tables() -> tuple[Table, ...]:
    """Every table; do not change them."""
    folder = resources.files("polymode.tasks.list_questions")
    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in FILES]
    tables = [table for text in texts for table in _tables(text)]
    for table in tables:
        if table.noun == "chemical element":
            table.conditions += [Condition(*parts) for parts in periodic_conditions(list(table.items))]
    return tuple(tables)


def _tables(text: str) -> Iterator[Table]:
    """The tables of one file, each followed by that of its capitals."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    table, kind, capital_noun, capital_of = Table(""), "", "", {}
    patterns: list[str] = []
    for line in [*re.sub(r"\n\s+", " ", lines).split("\n"), "table: "]:
        head, _, content = line.partition(":")
        word, _, phrase = head.strip().partition(" ")
        entries = [entry.strip() for entry in content.split(";") if entry.strip()]
        match word:
            case "table":
                if table.items:
                    yield table
                if capital_of:
                    yield _capitals(table, capital_noun, capital_of)
                table, kind, capital_noun, capital_of = Table(content.strip()), "", "", {}
                patterns = []
            case "names":
                table.name_noun = None
            case "also":
                patterns = entries
            case "capitals":
                capital_noun = content.strip()
            case "kind":
                kind = content.strip()
            case "items":
                new = [_item(entry, patterns) for entry in entries]
                for item, capital in new:
                    table.items[item.names[0]] = item
                    if capital is not None:
                        capital_of[item.names[0]] = capital
                if phrase:
                    table.conditions.append(Condition(kind, phrase, frozenset(item.names[0] for item, _ in new)))
            case "where":
                table.conditions.append(Condition(kind, phrase, _members(table, entries)))
            case "borders":
                for entry in entries:
                    _add_border(table, kind, phrase, entry)
            case _:
                if line.strip():
                    raise ValueError(f"{line!r:.80} is no line of a table")


def _item(entry: str, patterns: list[str]) -> tuple[Item, Item | None]:
    """An item and its capital, if it has one, from ``Bolivia > Sucre / La Paz``; with short forms by ``patterns``."""
    own, _, capital = entry.partition(" > ")
    item = _names(own)
    also = tuple(pattern.format(name) for name in (*item.names, *item.short) for pattern in patterns)
    return Item(item.names, item.short + also), _names(capital) if capital else None


def _names(text: str) -> Item:
    names = [name.strip() for name in text.split(" / ")]
    return Item(
        tuple(name for name in names if not name.startswith("~")),
        tuple(name.removeprefix("~") for name in names if name.startswith("~")),
    )


def _members(table: Table, entries: list[str]) -> frozenset[str]:
    members: set[str] = set()
    for entry in entries:
        if entry.startswith("@"):
            members |= next(one.members for one in table.conditions if one.phrase == entry[1:])
        else:
            members.add(table.items[entry].names[0])
    return frozenset(members)


def _add_border(table: Table, kind: str, a: str, b: str) -> None:
    for own, other in ((a, b), (b, a)):
        phrase = f"that borders {own}"
        at = next((i for i, one in enumerate(table.conditions) if one.phrase == phrase), None)
        earlier = frozenset[str]() if at is None else table.conditions.pop(at).members
        table.conditions.append(Condition(kind, phrase, earlier | {table.items[other].names[0]}))


def _capitals(table: Table, noun: str, capital_of: dict[str, Item]) -> Table:
    """The capitals of a table's items as a table with the same conditions."""
    first_name_of = {name: capital.names[0] for name, capital in capital_of.items()}
    conditions = [
        Condition(one.kind, one.phrase, frozenset(first_name_of[name] for name in one.members & first_name_of.keys()))
        for one in table.conditions
    ]
    items = {capital.names[0]: capital for capital in capital_of.values()}
    return Table(f"capital of a {table.noun}", items, conditions, name_noun=noun)
