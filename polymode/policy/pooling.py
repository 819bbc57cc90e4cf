"""Several completions of one question, pooled into one ranked answer set (layer L2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from polymode.errors import VerifierFault, number_in
from polymode.types import AnswerSet, ParseStatus

MAX_POOL = 64
"""Most completions that one set may be pooled from."""


class PooledAnswer(NamedTuple):
    """One distinct answer of a pool, where it is stated with the highest confidence."""

    completion: int
    """Number of the completion."""
    slot: int
    """Its place there."""
    confidence: float
    """The average."""


def check_pool(n: int) -> int:
    """Return ``n`` if so many completions can be pooled, else raise ConfigError."""
    number_in("pool", n, 1, MAX_POOL, whole=True)
    return n


def pool_answers(
    answers: Sequence[Sequence[tuple[str, float]]], k: int, same: Callable[[str, str], bool]
) -> list[PooledAnswer]:
    """The ``k`` most confident of the distinct answers of several completions, in falling order.

        q(a) = 1/n * sum over the n completions of q_i(a),    q_i(a) = 0 where completion i does not have a

    A linear opinion pool with equal weights (Stone 1961, https://doi.org/10.1214/aoms/1177704873; Genest and Zidek
    1986, https://doi.org/10.1214/ss/1177013825), over completions instead of experts: the Brier score of the average
    is never above the average Brier score of the completions, because squares are convex. A completion that does not
    list an answer gave it some small probability that nobody knows; 0 makes q(a) a lower bound, and what that costs
    in calibration is measured, or mended by a map, on the calibration set.

    Within a completion only the first of equal answers counts, as in `decide`. The order of the completions makes no
    difference where ``same`` is an equivalence: sums are exact before they are rounded, and equal averages rank by the
    place in a completion, the text decides last.

    Args:
        answers: texts and confidences of each completion; none for one that cannot be used, which counts in n all the
            same.
        k: answers of the set.
        same: equality of answers.
    """
    heads: list[str] = []
    stated: list[dict[int, tuple[float, int]]] = []  # by completion: confidence and slot
    for number, own in enumerate(answers):
        for slot, (text, q) in enumerate(own):
            place = next((i for i, head in enumerate(heads) if same(text, head)), len(heads))
            if place == len(heads):
                heads.append(text)
                stated.append({})
            stated[place].setdefault(number, (q, slot))
    ranked = []
    for by_completion in stated:
        q = min(1.0, math.fsum(q for q, _ in by_completion.values()) / len(answers))
        _, slot, text, number = min((-q, slot, answers[n][slot][0], n) for n, (q, slot) in by_completion.items())
        ranked.append((-q, min(slot for _, slot in by_completion.values()), text, PooledAnswer(number, slot, q)))
    return [answer for _, _, _, answer in sorted(ranked, key=lambda one: one[:3])[:k]]


def can_be_pooled(answers: AnswerSet) -> bool:
    """Whether a completion adds its answers to a pool: it is CLEAN, and each answer has a confidence."""
    return answers.is_clean and all(one.confidence is not None for one in answers.answers)


def pool_sets(sets: Sequence[AnswerSet], same: Callable[[str, str], bool]) -> AnswerSet:
    """One set of K answers from the completions of a question, by `pool_answers`; a single set as it is.

    Spans are those of the completion that states an answer with the highest confidence. A set that cannot be pooled
    (`can_be_pooled`) adds nothing, and counts in n. The pooled set is MALFORMED where all are like that (TRUNCATED
    where all were cut off), and where answers cannot be compared.
    """
    if len(sets) == 1:
        return sets[0]
    k, n = sets[0].k, len(sets)
    if not any(map(can_be_pooled, sets)):
        is_cut = all(one.status is ParseStatus.TRUNCATED for one in sets)
        status = ParseStatus.TRUNCATED if is_cut else ParseStatus.MALFORMED
        why = sets[0].reason or "an answer has no confidence"
        return AnswerSet(status, (), k, True, f"none of {n} completions can be used, the first because {why}")
    own = [[(a.text, a.confidence or 0.0) for a in one.answers] if can_be_pooled(one) else [] for one in sets]
    try:
        pooled = pool_answers(own, k, same)
    except VerifierFault as exc:
        return AnswerSet(ParseStatus.MALFORMED, (), k, True, f"its answers cannot be compared: {exc}")
    answers = [replace(sets[one.completion].answers[one.slot], confidence=one.confidence) for one in pooled]
    return AnswerSet(ParseStatus.CLEAN, tuple(answers), k, True)
