"""Holds an answer set against the references of its question (layer L2). The same in training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polymode.errors import VerifierFault
from polymode.soft_labels import with_soft_labels
from polymode.types import Answer, AnswerSet, Example, Judgement, Reference, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at
from polymode.verifiers.faults import ask, truth

_CORRECT, _WRONG, _UNSCORED = Verdict.CORRECT, Verdict.WRONG, Verdict.UNSCORED

Index = dict[str, tuple[int, ...]]
"""Key of a name -> the references that have it."""
Finding = tuple[Sequence[int], int | None, str | None]
"""Of one answer: the references that it matches, the slot of the earliest equal answer, the text of a fault."""

MAX_INDEXED = 4096
"""Questions whose references stay indexed."""


def judge(example: Example, answers: AnswerSet, verifier: Verifier | QuestionVerifier) -> Judgement:
    """Verdict, hit and duplicate of each answer.

    y_i = 1 iff answer i is no duplicate and enlarges the largest one-to-one matching between answers 1..i and
    references. For a set without duplicates the number of hits does not depend on the order of the answers.

    Args:
        example: the question; its references decide what is right.
        answers: what `parse_answers` read; none for a malformed completion.
        verifier: one equality for correctness and for duplicates.

    Returns:
        Verdicts with hits. A verifier that raises on an answer makes that answer UNSCORED (hit None) and leaves it out
        of the matching and of the search for duplicates; the text of the failure is in ``faults``.

    Where the question's target is a distribution, the soft labels too (`polymode.soft_labels`).

    Where right answers are without number (`polymode.verifiers.is_open`), y_i = 1 iff answer i is right and no
    duplicate, a right answer is a duplicate only of an earlier right one, and N counts as K, the most that one set can
    find. There a question without references cannot be judged; anywhere else it has no right answer, and all are WRONG.
    """
    items, references = answers.answers, example.references
    equality = verifier_at(verifier, example)
    unlimited = is_open(equality)
    key = None if unlimited else getattr(equality, "key", None)
    try:
        findings = ask(_by_key, items, references, equality, key) if key is not None else None
    except VerifierFault:  # of one answer or reference: `_pairwise` puts it with the answers it concerns
        findings = None
    if findings is None:
        findings = _pairwise(items, references, equality, unlimited)
    verdicts: list[Verdict] = []
    hits: list[int | None] = []
    matches: list[int | None] = []
    duplicates: list[int | None] = []
    gains: dict[int, int] = {}  # slot -> reference by which it enlarges the matching
    faults: list[str] = []
    owner: dict[int, int] = {}  # reference -> slot of the answer that has it in the matching
    for slot, (own, earlier, fault) in enumerate(findings):
        if fault is not None:
            faults.append(f"answer {slot + 1}: {fault}")
            verdicts.append(_UNSCORED)
            hits.append(None)
        else:
            verdicts.append(_CORRECT if own else _WRONG)
            gain = None
            if own and earlier is None:
                gain = own[0] if unlimited else _augment(slot, own, findings, owner)
            if gain is None:
                hits.append(0)
            else:
                hits.append(1)
                gains[slot] = gain
        duplicates.append(earlier)
        matches.append(own[0] if own else None)
    for reference, slot in owner.items():
        matches[slot] = reference
    n = answers.k if unlimited else len(references)
    found = Judgement(answers, tuple(verdicts), tuple(hits), tuple(matches), tuple(duplicates), n, tuple(faults))
    return found if example.target == "verdict" else with_soft_labels(found, example, equality, gains)


def _by_key(
    items: tuple[Answer, ...], references: tuple[Reference, ...], verifier: Verifier, key: Callable[[str], str]
) -> list[Finding]:
    index = _index(references, verifier, key)
    first: dict[str, int] = {}
    findings: list[Finding] = []
    for slot, answer in enumerate(items):
        name = key(answer.text)
        if name.__class__ is not str:
            raise VerifierFault(f"key returned {name!r}: return a string")
        earlier = first.setdefault(name, slot)
        findings.append((index.get(name, ()), None if earlier == slot else earlier, None))
    return findings


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


def _pairwise(
    items: tuple[Answer, ...], references: tuple[Reference, ...], verifier: Verifier, unlimited: bool
) -> list[Finding]:
    """Answer by answer, each with its own fault."""
    firsts: dict[int, bool] = {}  # slot of the first answer of each kind, and whether it is right

    def compare(text: str) -> Finding:
        if unlimited and not references:
            raise VerifierFault("there is no reference to check it with; give the question its tests")
        own = [number for number, reference in enumerate(references) if truth(verifier.matches(text, reference))]
        # Only with the first of a kind, also by an equality that is not transitive. Of an open verifier's answers, a
        # right one only with right ones: a program that fails for want of an import may have the same normal form.
        rivals = [slot for slot, is_right in firsts.items() if is_right or not (unlimited and own)]
        return own, next((slot for slot in rivals if truth(verifier.same(text, items[slot].text))), None), None

    findings: list[Finding] = []
    for slot, answer in enumerate(items):
        try:
            own, earlier, _ = finding = ask(compare, answer.text)
        except VerifierFault as exc:
            finding = ((), None, str(exc))
        else:
            if earlier is None:
                firsts[slot] = bool(own)
        findings.append(finding)
    return findings


def _augment(slot: int, own: Sequence[int], findings: Sequence[Finding], owner: dict[int, int]) -> int | None:
    """Give ``slot`` one of its ``own`` references, moving earlier slots to their other ones; None when impossible.

    Returns the reference that no slot had before: what the matching gains.

    The first free reference is the usual case. Else a search for an augmenting path: the slot takes a reference from
    its owner, which takes another of its own, and so on to a free one; ``via`` says which slot would take each
    reference that was reached. Breadth-first, so that the number of references is no limit of recursion. A matching is
    largest iff no such path exists (Berge 1957, https://doi.org/10.1073/pnas.43.9.842): the order does not matter.
    """
    for reference in own:
        if reference not in owner:
            owner[reference] = slot
            return reference
    via: dict[int, int] = dict.fromkeys(own, slot)
    queue = list(via)
    for reference in queue:
        if reference not in owner:
            free = reference
            while True:  # back along the path, each slot giving up its old reference to the slot before it
                taker = via[reference]
                previous = next((r for r, s in owner.items() if s == taker), None)
                owner[reference] = taker
                if previous is None:
                    return free
                reference = previous
        fresh = [r for r in findings[owner[reference]][0] if r not in via]
        via.update(dict.fromkeys(fresh, owner[reference]))
        queue.extend(fresh)
    return None
