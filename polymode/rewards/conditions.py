"""When right answers still pay: what weights must satisfy on a question with N references and K answers asked for.

Flip the label of one answer from 0 to 1, everything else fixed. Coverage gains at least ``coverage_weight`` x
`least_gain`; the calibration term, a proper loss from 0 to 1, loses most at q = 0, and there exactly its weight for
that answer: ``confidence_weight`` / K, or all of it where the set is one forecast (`other`). So, with c =
``coverage_weight`` and b = ``confidence_weight``::

    a right answer never costs, whatever the others are and whatever is stated   <=>   c x least gain >= charge

It also keeps the best *choice* of answers right: with honest confidence p an answer is worth c x gain x p -
charge x p (1 - p) for Brier, never falling in p under the same condition (for the others by convexity of the expected
score). Where it fails, an uncertain answer is worth less than junk with q = 0, and training gives up coverage to look
calibrated. For `count` it is c >= b / K, for `count/K` c >= b, for `count/N` c >= b N / K, for `vector` at alpha = 1
c >= b N min(K, N) / K; `any` satisfies it only where at most one answer can be right.

Where the target is a distribution, label 1 becomes a soft label w: then the term takes at most charge x w, with q = 0,
so the same condition suffices (it is needed where w can come near 1). With honest confidences an answer costs nothing
there, whatever w is, because the score is a divergence (`polymode.rewards.proper`): the best choice of answers is that
of coverage alone.

Honest confidences stay the best for given answers under every aggregation. They do not under ``exclusive`` confidences
where several answers can be right: the penalty then falls on honest sums above 1. Soft labels of a set sum to at most
1, so that there ``exclusive`` is right however many references a question has.
"""

from __future__ import annotations

from math import ceil, floor, inf, log10

from polymode.errors import ConfigError
from polymode.rewards.coverage import least_gain
from polymode.rewards.reward import Reward
from polymode.types import Target

RELEASED_TARGET = "preset = 'released' with target = 'distribution': its formulas are fixed; use preset 'paper'"
_SLACK = 1e-9
"""Relative, for weights like 1/3."""


def charge(reward: Reward, k: int) -> float:
    """The most that the calibration term takes for one more right answer."""
    return reward.confidence_weight / (1 if reward.confidence_score == "other" else k)


def least_coverage(reward: Reward, *, k: int, n: int) -> float:
    """Least coverage weight with which one more right answer never costs; infinite where none is enough.

    Arguments as for `check_question`.
    """
    charged = charge(reward, k)
    gain = least_gain(reward.coverage, k=k, n=n, alpha=reward.coverage_alpha)
    return charged / gain if gain > 0 else (inf if charged else 0.0)


def improper_objective(objective: str, method: str) -> str:
    """Why an objective over a group does not go with a method that scores confidences."""
    return (
        f"objective = {objective!r} with method = {method!r}: a right answer that others of the group found too adds "
        "nothing, doubt about it still costs, so junk with confidence 0 would be worth more; use single-rlvr or "
        "multi-rlvr"
    )


def check_question(reward: Reward, *, k: int, n: int, target: Target = "verdict") -> None:
    """Refuse weights that on such a question reward something else than right answers and honest confidences.

    Args:
        reward: the weights; those of preset `released` pass.
        k: answers asked for.
        n: references of the question, 0 where nothing is right; k where right answers are without number.
        target: what the question's confidences are scored against.

    Raises:
        ConfigError: by the conditions above.
    """
    is_soft = target == "distribution"
    if reward.preset == "released" and reward.confidence_weight and is_soft:
        raise ConfigError(RELEASED_TARGET)
    if reward.preset == "released" or n == 0:  # where nothing is right, no answer can be worth too little
        return
    where = f"{n} reference{'s' if n != 1 else ''} and {k} answer{'s' if k != 1 else ''}"
    if reward.confidences == "exclusive" and min(k, n) > 1 and not is_soft:
        raise ConfigError(
            f"confidences = {reward.confidences!r} on a question with {where}: several can be right, so honest "
            "confidences may sum above 1 and would be penalised; use 'independent'"
        )
    least = least_coverage(reward, k=k, n=n)
    if reward.coverage_weight >= least * (1 - _SLACK):
        return
    gain = reward.coverage_weight * least_gain(reward.coverage, k=k, n=n, alpha=reward.coverage_alpha)
    problem = (
        f"coverage = {reward.coverage!r} with coverage_weight = {reward.coverage_weight!r} and confidence_weight = "
        f"{reward.confidence_weight!r} on a question with {where}: a further hit may add only {gain:.3g} and doubt "
        f"about it cost {charge(reward, k):.3g}, so junk with confidence 0 would be worth more"
    )
    if least == inf:
        raise ConfigError(f"{problem}; use coverage = 'count', or confidence_weight = 0")
    unit = 10.0 ** (floor(log10(least)) - 2)  # three digits, not below the least
    raise ConfigError(f"{problem}; raise coverage_weight to at least {ceil(least / unit - _SLACK) * unit:g}")
