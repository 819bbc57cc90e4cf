"""Several completions of one question, pooled into one ranked answer set (layer L2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from polymode.errors import VerifierFault, number_in
from polymode.prompts import MAX_K
from polymode.types import AnswerSet, ParseStatus

MAX_POOL = 64
"""Most completions that one set may be pooled from."""


class PooledAnswer(NamedTuple):
    """One distinct answer of a pool."""

    completion: int
    """Number of the first completion that has it."""
    slot: int
    """Its place there."""
    confidence: float


def check_pool(n: int) -> int:
    """Return ``n`` if so many completions can be pooled, else raise ConfigError."""
    number_in("pool", n, 1, MAX_POOL, whole=True)
    return n


def pool_answers(
    answers: Sequence[Sequence[tuple[str, float]]], same: Callable[[str, str], bool]
) -> list[PooledAnswer]:
    """Distinct answers of several completions, the most confident first.

        q(a) = 1/n * sum over the n completions of q_i(a),    q_i(a) = 0 where completion i does not have a

    A linear opinion pool with equal weights (Stone 1961, https://doi.org/10.1214/aoms/1177704873; Genest and Zidek
    1986, https://doi.org/10.1214/ss/1177013825), over completions instead of experts: the Brier score of the average
    is never above the average Brier score of the completions, because squares are convex. A completion that does not
    list an answer gave it some small probability that nobody knows; 0 makes q(a) a lower bound, and what that costs
    in calibration is measured, or mended by a map, on the calibration set.

    Within a completion only the first of equal answers counts, as in `decide`. Ties keep the order of the completions;
    beyond ``MAX_K`` answers the least confident are left out.

    Args:
        answers: texts and confidences of each completion; none for one that cannot be used, which counts in n all the
            same.
        same: equality of answers.
    """
    firsts: list[tuple[str, int, int]] = []
    total: list[float] = []
    for number, own in enumerate(answers):
        of_completion: set[int] = set()
        for slot, (text, q) in enumerate(own):
            place = next((i for i, (first, _, _) in enumerate(firsts) if same(text, first)), len(firsts))
            if place == len(firsts):
                firsts.append((text, number, slot))
                total.append(0.0)
            if place not in of_completion:
                of_completion.add(place)
                total[place] += q
    order = sorted(range(len(firsts)), key=lambda i: -total[i])[:MAX_K]
    return [PooledAnswer(firsts[i][1], firsts[i][2], min(1.0, total[i] / len(answers))) for i in order]


def pool_sets(sets: Sequence[AnswerSet], same: Callable[[str, str], bool]) -> AnswerSet:
    """One answer set of the completions of a question, by `pool_answers`; a single set as it is.

    Spans are those of the completion that each answer was first found in. Sets that are not CLEAN, or lack a
    confidence, add nothing; where all are like that, the first one is returned. The pooled set may hold more answers
    than the K asked for. Where answers cannot be compared it is MALFORMED.
    """
    usable = [one for one in sets if one.is_clean and all(a.confidence is not None for a in one.answers)]
    if len(sets) == 1 or not usable:
        return sets[0]
    own = [[(a.text, a.confidence or 0.0) for a in one.answers] if one in usable else [] for one in sets]
    try:
        pooled = pool_answers(own, same)
    except VerifierFault as exc:
        return AnswerSet(ParseStatus.MALFORMED, (), sets[0].k, True, f"its answers cannot be compared: {exc}")
    answers = [replace(sets[one.completion].answers[one.slot], confidence=one.confidence) for one in pooled]
    return AnswerSet(ParseStatus.CLEAN, tuple(answers), sets[0].k, True)
