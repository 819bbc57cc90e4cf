"""Soft labels: what confidences are scored against where the target is a distribution (layer L2).

With masses p of a reference distribution (shares of votes, a posterior) the label of answer i is the mass that it adds
to what answers 1..i-1 have found, as y_i is the number of references that it adds::

    w_i = p(r)   answer i enlarges the one-to-one matching by reference r (y_i = 1)
    w_i = p(a)   it matches no reference, but answer a of the distribution (the condition below a threshold)
    w_i = 0      it repeats an earlier answer, its reference was found already, or the distribution does not list it

p(r) is the sum over the names in the distribution that are reference r. So w_1 + .. + w_K is the mass of what the set
found, at most 1, and w_i depends on answers 1..i only: it is fixed before confidence i is written. A fault of the
verifier makes the answer UNSCORED, with the reason, never w_i = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from polymode.distributions import distribution_of
from polymode.errors import ConfigError, VerifierFault
from polymode.types import Example, Judgement, Verdict
from polymode.verifiers import Verifier, is_open
from polymode.verifiers.faults import ask, truth

_NO_ANSWER = "this is no answer"
MAX_QUESTIONS = 4096
"""Questions whose masses stay sorted out."""


@dataclass(frozen=True, slots=True)
class Masses:
    """A reference distribution by what an answer can match."""

    of_reference: tuple[float, ...]
    of_others: Mapping[str, float]
    """Mass of what is no reference, by key where the verifier has keys, else by name."""


def with_soft_labels(judgement: Judgement, example: Example, verifier: Verifier, gains: Mapping[int, int]) -> Judgement:
    """The judgement with its soft labels; ``gains`` has the reference by which each hit enlarges the matching, by slot.

    Raises:
        ConfigError: right answers are without number, so that no reference has a mass.
    """
    if is_open(verifier):
        raise ConfigError(
            "target = 'distribution' where right answers are without number (programs): no reference has a mass; leave "
            "target out"
        )
    labels: list[float | None] = [None] * len(judgement.hits)
    faults: dict[int, str] = {}
    taken: set[str] = set()
    texts = [answer.text for answer in judgement.answer_set.answers]
    for slot, y in enumerate(judgement.hits):
        if y is None:
            continue
        try:
            masses = _masses_of(example, verifier)
            if y:
                labels[slot] = masses.of_reference[gains[slot]]
            elif judgement.duplicates[slot] is not None or judgement.matches[slot] is not None:
                labels[slot] = 0.0
            else:
                labels[slot] = ask(_other, texts[slot], masses.of_others, verifier, taken)
        except VerifierFault as exc:
            faults[slot] = f"answer {slot + 1}: its mass in the reference distribution: {exc}"
    if not faults:
        return replace(judgement, soft_labels=tuple(labels))
    return replace(
        judgement,
        verdicts=tuple(Verdict.UNSCORED if i in faults else one for i, one in enumerate(judgement.verdicts)),
        hits=tuple(None if i in faults else y for i, y in enumerate(judgement.hits)),
        faults=(*judgement.faults, *faults.values()),
        soft_labels=tuple(labels),
    )


def check_soft_labels(example: Example, verifier: Verifier) -> None:
    """Ask for what the soft labels of the question need of its verifier; raises VerifierFault where it fails.

    That is to compare each right answer with its reference and a wrong one with the first, and to sort out the names of
    the distribution.
    """
    pairs = [(reference.text, reference) for reference in example.references]
    for text, reference in [*pairs, *((_NO_ANSWER, reference) for _, reference in pairs[:1])]:
        truth(ask(verifier.matches, text, reference))
    _masses_of(example, verifier)


def _other(text: str, masses: Mapping[str, float], verifier: Verifier, taken: set[str]) -> float:
    """Mass of an answer that matches no reference; one that an earlier answer took counts once."""
    if not masses:
        return 0.0
    key: Callable[[str], str] | None = getattr(verifier, "key", None)
    name = key(text) if key is not None else next((n for n in masses if truth(verifier.same(text, n))), "")
    if name in taken:
        return 0.0
    taken.add(name)
    return masses.get(name, 0.0)


_MASSES: dict[int, tuple[Example, Verifier, Masses | VerifierFault]] = {}


def _masses_of(example: Example, verifier: Verifier) -> Masses:
    # By identity, as `judging` indexes references: the completions of a question share it. A fault is remembered too.
    entry = _MASSES.get(id(example))
    if entry is None or entry[0] is not example or entry[1] is not verifier:
        try:
            masses = ask(_sorted_out, example, verifier)
        except VerifierFault as exc:
            masses = exc
        if len(_MASSES) >= MAX_QUESTIONS:
            _MASSES.clear()
        entry = _MASSES[id(example)] = example, verifier, masses
    if isinstance(entry[2], VerifierFault):
        raise entry[2]
    return entry[2]


def _sorted_out(example: Example, verifier: Verifier) -> Masses:
    distribution = distribution_of(example)
    if distribution is None:
        raise VerifierFault("the question has none: give it a distribution, or weights that sum to 1")
    references = example.references
    key: Callable[[str], str] | None = getattr(verifier, "key", None)
    # The reference itself comes before one that has the same text as a further name.
    numbers = {ref.text: number for number, ref in reversed(list(enumerate(references)))}
    by_key: dict[str, int] = {}
    for number, ref in enumerate(references):
        for name in ref.names:
            numbers.setdefault(name, number)
            if key is not None:
                by_key.setdefault(key(name), number)
    of_reference, of_others = [0.0] * len(references), dict[str, float]()
    for name, mass in distribution.items():
        number = numbers.get(name)
        if number is None:
            number = (
                by_key.get(key(name))
                if key is not None
                else next((i for i, ref in enumerate(references) if truth(verifier.matches(name, ref))), None)
            )
        if number is not None:
            of_reference[number] = min(1.0, of_reference[number] + mass)
        else:
            other = name if key is None else key(name)
            of_others[other] = min(1.0, of_others.get(other, 0.0) + mass)
    return Masses(tuple(of_reference), of_others)
