"""References as people write them, and the checks that keep a question scorable (layer L1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from polymode.errors import RecordError, VerifierFault
from polymode.types import Reference
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question
from polymode.verifiers.faults import ask


def reference_from(value: Any) -> Reference:
    """A reference from its JSON form: a string, a list of aliases (first is canonical), or an object.

    Raises:
        RecordError: anything else, an empty text, or a weight that is not a number in [0, 1].
    """
    if isinstance(value, str):  # the usual form
        ref = Reference(value)
    elif isinstance(value, Reference):
        ref = value
    elif isinstance(value, (list, tuple)) and value and _are_texts(value):
        ref = Reference(value[0], tuple(value[1:]))
    elif isinstance(value, Mapping) and isinstance(value.get("text"), str):
        aliases = value.get("aliases") or ()
        if not isinstance(aliases, (list, tuple)) or not _are_texts(aliases):
            raise RecordError(f"references: aliases must be a list of strings, got {aliases!r}")
        ref = Reference(value["text"], tuple(aliases), value.get("weight"))
    else:
        raise RecordError(
            f"references: {value!r} is not a reference; give a string, a non-empty list of aliases, "
            'or {"text": ..., "aliases": [...], "weight": ...}'
        )
    if "" in map(str.strip, ref.names):
        raise RecordError(f"references: empty text in {value!r}; remove the reference or write its answer")
    weight: Any = ref.weight
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if weight is not None and not (is_number and 0 <= weight <= 1):
        raise RecordError(f"references: weight {weight!r} of {ref.text!r} must be a number from 0 to 1")
    return ref


def _are_texts(items: Sequence[Any]) -> bool:
    return all([isinstance(item, str) for item in items])


def references_from(value: Any) -> tuple[Reference, ...]:
    """References from a list of JSON forms; a bare string or object is one reference. Raises RecordError as above."""
    if isinstance(value, (str, Mapping, Reference)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise RecordError(f"references: {value!r} is not a list; give a list with one item for each right answer")
    return tuple(map(reference_from, value))


def check_references(references: Sequence[Reference], verifier: Verifier | QuestionVerifier | None) -> None:
    """Refuse references that cannot be told apart: no answer could ever find all of them.

    That is so when every name of one equals some name of the other and the other way round; for names shared in part
    there is the one-to-one matching. A verifier that reads the question is not asked, nor is None.

    Raises:
        RecordError: no reference at all, or two that no answer can tell apart.
    """
    if not references:
        raise RecordError("references: the list is empty; give at least one right answer")
    if len(references) == 1 or verifier is None or depends_on_question(verifier):
        return
    try:
        pair = ask(_indistinct, references, cast("Verifier", verifier))
    except VerifierFault:  # judging says of each answer what is wrong
        return
    if pair is not None:
        a, b = (ref.text for ref in pair)
        raise RecordError(
            f"references: {a!r} and {b!r} are the same answer; write them as one reference with aliases, [{a!r}, {b!r}]"
        )


def _indistinct(references: Sequence[Reference], verifier: Verifier) -> tuple[Reference, Reference] | None:
    key = getattr(verifier, "key", None)
    if key is not None:
        by_keys: dict[frozenset[str], Reference] = {}
        for ref in references:
            first = by_keys.setdefault(frozenset(map(key, ref.names)), ref)
            if first is not ref:
                return first, ref
        return None

    def is_within(a: Reference, b: Reference) -> bool:
        return all(verifier.matches(name, b) for name in a.names)

    pairs = ((a, b) for j, b in enumerate(references) for a in references[:j])
    return next(((a, b) for a, b in pairs if is_within(a, b) and is_within(b, a)), None)
