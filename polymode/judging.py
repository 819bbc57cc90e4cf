"""Holds an answer set against the references of its question (layer L2). The same in training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

from polymode.errors import VerifierFault
from polymode.types import Answer, AnswerSet, Example, Judgement, Reference, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at
from polymode.verifiers.faults import ask

_CORRECT, _WRONG, _UNSCORED = Verdict.CORRECT, Verdict.WRONG, Verdict.UNSCORED

Index = dict[str, tuple[int, ...]]
"""Key of a name -> the references that have it."""

MAX_INDEXED = 4096
"""Questions whose references are kept indexed."""


def judge(example: Example, answers: AnswerSet, verifier: Verifier | QuestionVerifier) -> Judgement:
    """Verdict, hit and duplicate of each answer.

    y_i = 1 iff answer i is no duplicate and enlarges the largest one-to-one matching between answers 1..i and
    references: the first answer that finds a reference counts, a repeat does not. For a set without duplicates the
    number of hits does not depend on the order of the answers, also when an answer matches several references.

    Args:
        example: the question; its references decide what is right.
        answers: what `parse_answers` read; none for a malformed completion.
        verifier: one equality for correctness and for duplicates.

    Returns:
        Verdicts with hits. A verifier that raises on an answer makes that answer UNSCORED (hit None) and leaves it out
        of the matching and of the search for duplicates; the text of the failure is in ``faults``.

    Where right answers are without number (`polymode.verifiers.is_open`), y_i = 1 iff answer i is right and no
    duplicate, and N counts as K, the most that one set can find.
    """
    items, references = answers.answers, example.references
    equality = verifier_at(verifier, example)
    if is_open(equality):
        return _judge_pairwise(items, answers, references, equality, answers.k)
    if not items:
        return Judgement(answers, (), (), (), (), len(references))
    key = getattr(equality, "key", None)
    if key is not None:
        try:
            judged = ask(_judge_keyed, items, answers, references, equality, key)
        except VerifierFault:  # the general way finds out which answer it was
            judged = None
        if judged is not None:
            return judged
    return _judge_pairwise(items, answers, references, equality, len(references))


def _judge_keyed(
    items: tuple[Answer, ...],
    answers: AnswerSet,
    references: tuple[Reference, ...],
    verifier: Verifier,
    key: Callable[[str], str],
) -> Judgement | None:
    """Look-ups only; None when an answer matches several references: then the general way."""
    verdicts: list[Verdict] = []
    hits: list[int] = []
    matches: list[int | None] = []
    duplicates: list[int | None] = []
    first: dict[str, int] = {}
    found: set[int] = set()
    index = _index(references, verifier, key)
    for slot, answer in enumerate(items):
        name = key(answer.text)
        earlier = first.setdefault(name, slot)
        duplicates.append(None if earlier == slot else earlier)
        candidates = index.get(name)
        if candidates is None:
            verdicts.append(_WRONG)
            hits.append(0)
            matches.append(None)
            continue
        if len(candidates) != 1:
            return None
        reference = candidates[0]
        verdicts.append(_CORRECT)
        matches.append(reference)
        hits.append(0 if reference in found else 1)
        found.add(reference)
    return Judgement(answers, tuple(verdicts), tuple(hits), tuple(matches), tuple(duplicates), len(references))


_INDEXES: dict[int, tuple[tuple[Reference, ...], Verifier, Index]] = {}


def _index(references: tuple[Reference, ...], verifier: Verifier, key: Callable[[str], str]) -> Index:
    # By identity, because hashing the references takes as long as indexing them. The entry keeps its references alive,
    # so their id cannot come to mean others.
    entry = _INDEXES.get(id(references))
    if entry is not None and entry[1] is verifier:
        return entry[2]
    index: Index = {}
    for number, reference in enumerate(references):
        for name in dict.fromkeys(map(key, reference.names)):
            index[name] = (*index.get(name, ()), number)
    if len(_INDEXES) >= MAX_INDEXED:
        _INDEXES.clear()
    _INDEXES[id(references)] = (references, verifier, index)
    return index


def _judge_pairwise(
    items: tuple[Answer, ...],
    answers: AnswerSet,
    references: tuple[Reference, ...],
    verifier: Verifier,
    n_references: int,
) -> Judgement:
    """Any verifier, any overlap of references: one-to-one matching by augmenting paths, unless it is open."""
    unlimited = is_open(verifier)
    verdicts: list[Verdict] = []
    hits: list[int | None] = []
    matches: list[int | None] = []
    duplicates: list[int | None] = []
    faults: list[str] = []
    firsts: list[int] = []  # only the first of each kind is compared with, also by an equality that is not transitive
    candidates: list[Sequence[int]] = []
    owner: dict[int, int] = {}
    for slot, answer in enumerate(items):
        try:
            found = [number for number, ref in enumerate(references) if ask(verifier.matches, answer.text, ref)]
            earlier = next((j for j in firsts if ask(verifier.same, answer.text, items[j].text)), None)
        except VerifierFault as exc:
            found, earlier = [], None
            faults.append(f"answer {slot + 1}: {exc}")
            verdicts.append(_UNSCORED)
            hits.append(None)
        else:
            verdicts.append(_CORRECT if found else _WRONG)
            if earlier is None:
                firsts.append(slot)
            is_new = bool(found) if unlimited else earlier is None and _augment(slot, [*candidates, found], owner)
            hits.append(int(earlier is None and is_new))
        candidates.append(found)
        duplicates.append(earlier)
        matches.append(found[0] if found else None)
    for reference, slot in owner.items():
        matches[slot] = reference
    return Judgement(
        answers,
        tuple(verdicts),
        tuple(hits),
        tuple(matches),
        tuple(duplicates),
        n_references,
        tuple(faults),
    )


def _augment(slot: int, candidates: Sequence[Sequence[int]], owner: dict[int, int]) -> bool:
    """Give ``slot`` a reference, moving earlier slots to their other references where needed; False when impossible.

    Breadth-first, so the number of references is no limit of recursion (Berge's theorem: a matching is largest iff no
    augmenting path exists).
    """
    via: dict[int, int] = dict.fromkeys(candidates[slot], slot)  # reference -> slot that would take it
    queue = list(via)
    for reference in queue:
        if reference not in owner:
            while True:
                taker = via[reference]
                previous = next((r for r, s in owner.items() if s == taker), None)
                owner[reference] = taker
                if previous is None:
                    return True
                reference = previous
        else:
            holder = owner[reference]
            fresh = [r for r in candidates[holder] if r not in via]
            via.update(zip(fresh, repeat(holder)))
            queue.extend(fresh)
    return False
