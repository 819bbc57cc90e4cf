"""The lab's hops: two-hop questions with facts missing, whose exact answer distribution is known (HotPotQA-Modified).

In each world every place lies in a town, drawn from P(town | place), and people work at different places; the asked
person's place is drawn from P(place) (`hops_world`). Two facts are needed, "who works where" and "where that is". None,
one or both are hidden, by a draw that looks at no value, and other facts make up ``FACTS`` in all. A question::

    zoe works at farm in louth; ferry is in goring; ben works at mill; uma works at mine in ely
    In which town does zoe work?

The person in question comes first (``zoe works somewhere`` when the work fact is hidden), then loose places in random
order, where nobody is known to work, then other people in random order, each with the town of their place or without.
There are loose places whenever only the work fact is hidden, so that the place is one of several, and none when both
are. How many of each kind there are is drawn given what is hidden, who and which places they are uniformly among the
rest, so what remains tells the pattern and nothing else:

    nothing hidden                  the town that the facts say
    town hidden                     P(t | place)
    work fact hidden                P(t | text) ~ sum of P(place) over the loose places in t
    both hidden                     P(t | text) ~ sum of P(place) P(t | place) over the places not mentioned

The last spreads over all towns, none above 1 in 12: such a question is not ``answerable``, and honest confidences are
near 0. The one reference is the drawn world's town, so the posterior is the true probability of each answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from polymode.errors import ConfigError
from polymode.tasks.lab.demonstrations import CANDIDATES, FORMAT_TEXTS, write_demonstration
from polymode.tasks.lab.endless import Endless
from polymode.tasks.lab.hops_world import P_PLACE, PEOPLE, PLACES, TOWNS, p_towns
from polymode.types import Example, Reference

FACTS = 6
"""Facts stated in each question, whatever is hidden."""

WORK, TOWN = "work", "town"
"""Names of the two needed facts in ``meta["missing"]``."""

_PATTERNS: tuple[tuple[str, ...], ...] = ((), (WORK,), (TOWN,), (WORK, TOWN))
_PATTERN_SHARES = (1 / 3, 1 / 6, 1 / 6, 1 / 3)  # 0, 1 or 2 hidden equally often
_OTHER_LOOSE: dict[tuple[str, ...], tuple[int, int]] = {
    (): (0, 2),
    (TOWN,): (0, 2),
    (WORK,): (1, 3),
    (WORK, TOWN): (0, 0),
}
"""Fewest and most loose places beside the person's own, by what is missing."""
_DRAW = 512  # worlds drawn at a time
_QUESTION = re.compile(r"(.*)\nIn which town does (\w+) work\?")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a question."""

    person: str
    """Who is asked about."""
    works: Mapping[str, str]
    """Place by person."""
    lies: Mapping[str, str]
    """Town by place."""

    @property
    def loose(self) -> list[str]:
        """Places that lie somewhere and where nobody is known to work."""
        workplaces = set(self.works.values())
        return [place for place in self.lies if place not in workplaces]


class Hops(Endless):
    """Two-hop questions with an exact distribution over the answers; see the module docstring.

    ``meta`` holds ``hidden`` (0, 1 or 2), ``missing`` (which facts), ``answerable``, ``person``, ``place`` and
    ``drawn`` (the town).
    """

    name = "hops"
    meaning = "is the right one"

    def __init__(self) -> None:
        self._p_town = p_towns()  # (places, towns)
        self._p_place = P_PLACE
        self._number_of = {place: i for i, place in enumerate(PLACES)}

    def posterior(self, facts: Facts) -> np.ndarray:
        """P(the person works in town | facts), shape (towns,), for facts that a question of this task can tell."""
        place = facts.works.get(facts.person)
        if place is not None and place not in facts.lies:
            return self._p_town[self._number_of[place]]
        p = np.zeros(len(TOWNS))
        if place is not None:
            p[TOWNS.index(facts.lies[place])] = 1.0
        elif loose := facts.loose:
            for name in loose:
                p[TOWNS.index(facts.lies[name])] += self._p_place[self._number_of[name]]
        else:
            mentioned = [self._number_of[name] for name in facts.works.values()]
            p = np.delete(self._p_place, mentioned) @ np.delete(self._p_town, mentioned, axis=0)
        return p / p.sum()

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion: the chain as far as the facts go, then K distinct towns.

        Raises:
            ConfigError: the example does not come from this task.
        """
        if example.distribution is None or _QUESTION.fullmatch(example.question) is None:
            raise ConfigError(f"example {example.id!r} does not come from hops: it has no facts to reason about")
        possible = sum(p > 0 for p in example.distribution.values())
        return write_demonstration(
            _chain(read_facts(example.question)),
            example.distribution,
            TOWNS,
            k,
            confidence=confidence,
            rng=rng,
            candidates=min(CANDIDATES, possible),
        )

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a question, prompt or demonstration."""
        names = (*PEOPLE, *PLACES, *TOWNS)
        questions = [f"{name} works at {name} in {name}; {name} is in {name};" for name in names]
        questions += [_render(name, [], []) for name in PEOPLE]
        thoughts = [f"<think> {name} : unknown ; {name} : {name} ; so {name}, {name} </think>" for name in names]
        return [*questions, *thoughts, *names, *FORMAT_TEXTS]

    def draw(self, rng: np.random.Generator) -> Iterator[tuple[str, partial[Example]]]:
        """Questions of ``_DRAW`` worlds, each with a function that creates its example."""
        pattern = rng.choice(len(_PATTERNS), p=_PATTERN_SHARES, size=_DRAW)
        person = rng.random((_DRAW, len(PEOPLE))).argsort(1)  # the asked one first
        # The person's place is drawn by size and put first; the others follow in random order.
        order = rng.random((_DRAW, len(PLACES)))
        order[np.arange(_DRAW), rng.choice(len(PLACES), p=self._p_place, size=_DRAW)] = -1.0
        place = order.argsort(1)
        town = (self._p_town.cumsum(1) > rng.random((_DRAW, len(PLACES), 1))).argmax(2)  # of every place
        for i in range(_DRAW):
            missing = _PATTERNS[pattern[i]]
            people, places = ([names[j] for j in row] for names, row in ((PEOPLE, person[i]), (PLACES, place[i])))
            towns = [TOWNS[t] for t in town[i][place[i]]]
            works, lies = _tell(missing, people, places, towns, rng)
            question = _render(people[0], works, lies)
            meta = {
                "hidden": len(missing),
                "missing": list(missing),
                "answerable": len(missing) < 2,
                "person": people[0],
                "place": places[0],
                "drawn": towns[0],
            }
            facts = Facts(people[0], dict(works), dict(lies))
            yield question, partial(self._example, question=question, facts=facts, meta=meta)

    def _example(self, identity: str, question: str, facts: Facts, meta: dict[str, object]) -> Example:
        p = self.posterior(facts)
        order = np.argsort(-p, kind="stable")
        distribution = {TOWNS[t]: float(p[t]) for t in order if p[t] > 0}
        drawn = str(meta["drawn"])
        return Example(
            identity,
            question,
            (Reference(drawn, weight=distribution[drawn]),),
            distribution=distribution,
            p_correct=distribution,
            exclusive=True,
            meta=meta,
        )


def read_facts(question: str) -> Facts:
    """The facts that a question states, in its own order."""
    match = _QUESTION.fullmatch(question)
    assert match is not None, question
    works: dict[str, str] = {}
    lies: dict[str, str] = {}
    for fact in match[1].split("; "):
        subject, verb, *rest = fact.split()
        if verb == "is":
            lies[subject] = rest[-1]
        elif rest[0] == "at":
            works[subject] = rest[1]
            if len(rest) > 2:
                lies[rest[1]] = rest[-1]
    return Facts(match[2], works, lies)


def _tell(
    missing: tuple[str, ...],
    people: Sequence[str],
    places: Sequence[str],
    towns: Sequence[str],
    rng: np.random.Generator,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The stated work facts and town facts, each shuffled; the person in question, their place and town come first."""
    low, high = _OTHER_LOOSE[missing]
    n_loose = int(rng.integers(low, high + 1))
    rest = FACTS - (2 - len(missing)) - n_loose
    n_chains = int(rng.integers(rest // 2 + 1))  # work facts of others whose place's town is told as well
    n_others = rest - n_chains
    works = [(people[i], places[i]) for i in range(1, n_others + 1)]
    with_town = [*range(1, n_chains + 1), *range(n_others + 1, n_others + 1 + n_loose)]
    if WORK not in missing:
        works.append((people[0], places[0]))
    if TOWN not in missing:
        with_town.append(0)
    lies = [(places[i], towns[i]) for i in with_town]
    return [works[i] for i in rng.permutation(len(works))], [lies[i] for i in rng.permutation(len(lies))]


def _render(person: str, works: Sequence[tuple[str, str]], lies: Sequence[tuple[str, str]]) -> str:
    """The question, in an order that does not depend on values: a small model finds facts by position."""
    place_of, town_of = dict(works), dict(lies)

    def work_of(who: str) -> str:
        place = place_of.get(who)
        if place is None:
            return f"{who} works somewhere"
        return f"{who} works at {place}" + (f" in {town_of[place]}" if place in town_of else "")

    loose = [f"{place} is in {town}" for place, town in lies if place not in set(place_of.values())]
    others = [work_of(who) for who in place_of if who != person]
    return f"{'; '.join([work_of(person), *loose, *others])}\nIn which town does {person} work?"


def _chain(facts: Facts) -> str:
    """The two hops as far as the facts go: ``zoe : farm ; farm : louth``; loose places replace a hidden one."""
    place = facts.works.get(facts.person)
    places = facts.loose if place is None else [place]
    hops = [(facts.person, place or "unknown"), *((name, facts.lies.get(name, "unknown")) for name in places)]
    return " ; ".join(f"{subject} : {value}" for subject, value in hops)
