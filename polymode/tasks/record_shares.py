"""References that stand with the votes they got: forms in which crowds' answers are published (layer L3).

::

    {"e": 76, "n": 20, "c": 4}                                   answers to numbers, as in ChaosNLI's label_counter
    {"q1.0": {"count": 38, "answers": ["money", "cash"]}, ...}   clusters of answers, as in ProtoQA
    [{"count": 38, "answers": ["money", "cash"]}, ...]           the same as a list
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, cast

from polymode.errors import RecordError, VerifierFault
from polymode.references import is_missing
from polymode.types import Reference
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question
from polymode.verifiers.faults import ask

MOST_VOTES = 2**53
"""Up to here every whole number is one of floating point, and no sum of votes overflows."""


def with_shares(values: Sequence[Any]) -> list[Any]:
    """References in one of the forms above as objects with ``text``, ``aliases`` and ``weight``; others as they are."""
    if len(values) == 1 and isinstance(values[0], Mapping) and not isinstance(values[0].get("text"), str):
        shares = values[0]
        if shares and all(is_missing(number) or _is_number(number) for number in shares.values()):
            # The Hugging Face hub fills a key that a row does not have with None. NaN is somebody's mistake.
            return [{"text": text, "weight": n} for text, n in shares.items() if _is_number(n)]
        if shares and all(map(_is_cluster, shares.values())):
            values = list(shares.values())
    return [_reference_of(value) if _is_cluster(value) else value for value in values]


def votes_of(values: Sequence[Any]) -> list[Any]:
    """What objects hold as ``weight``, None where they hold none; empty where no reference is such an object."""
    votes = [value.get("weight") if isinstance(value, Mapping) else None for value in values]
    return votes if any(vote is not None for vote in votes) else []


def without_weight(value: Any) -> Any:
    """A reference's object without its votes, which are no probability yet."""
    return {name: x for name, x in value.items() if name != "weight"} if isinstance(value, Mapping) else value


def with_votes(
    references: Sequence[Reference], counts: Sequence[Any], verifier: Verifier | QuestionVerifier | None
) -> list[Reference]:
    """The references that got votes, each weighted with its share of all; those that a verifier calls the same as one.

    Raises:
        RecordError: a number of votes is missing, negative or above `MOST_VOTES`, or there are none.
    """
    if len(counts) != len(references):
        raise RecordError("weights = 'counts': no reference has a count; name their field (weights_field)")
    for ref, count in zip(references, counts, strict=True):
        if not _is_number(count) or not 0 <= count <= MOST_VOTES:
            raise RecordError(
                f"weights = 'counts': {repr(count)[:40]} of {ref.text!r} is no number of votes; give one from 0 to 2^53"
            )
    total = math.fsum(counts)
    if references and not total:
        raise RecordError("weights = 'counts': all counts are 0; leave the record out, nobody answered it")
    weighted = [replace(ref, weight=n / total) for ref, n in zip(references, counts, strict=True) if n]
    return (
        weighted if verifier is None or depends_on_question(verifier) else _joined(weighted, cast(Verifier, verifier))
    )


def _joined(references: Sequence[Reference], verifier: Verifier) -> list[Reference]:
    """References whose texts are the same answer as one: people write it in many ways."""
    joined: list[Reference] = []
    for ref in references:
        place = next((i for i, first in enumerate(joined) if _is_same(verifier, first.text, ref.text)), None)
        if place is None:
            joined.append(ref)
            continue
        first = joined[place]
        weight = min(1.0, (first.weight or 0.0) + (ref.weight or 0.0))
        joined[place] = Reference(first.text, (*first.aliases, *ref.names), weight)
    return joined


def _is_same(verifier: Verifier, a: str, b: str) -> bool:
    try:
        return bool(ask(verifier.same, a, b))
    except VerifierFault:  # judging says of each answer what is wrong
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_cluster(value: Any) -> bool:
    return isinstance(value, Mapping) and _is_number(value.get("count")) and isinstance(value.get("answers"), list)


def _reference_of(cluster: Mapping[str, Any]) -> Any:
    names = cluster["answers"]
    if not names:
        raise RecordError(f"a cluster with count {cluster['count']!r} has no answers; write them, or leave it out")
    return {"text": names[0], "aliases": names[1:], "weight": cluster["count"]}
