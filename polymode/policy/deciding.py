"""From an answer set and a policy to a decision with its reason (layer L2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from polymode.errors import ConfigError, VerifierFault
from polymode.policy.policy import Policy
from polymode.types import Answer, AnswerSet, Decision, DecisionKind
from polymode.verifiers.text import TextVerifier

RISKS = ("normal", "high")
TOLERANCE = 1e-9
"""A value that misses a threshold by no more than this reaches it: 0.1 + 0.2 reaches 0.3."""

Same = Callable[[str, str], bool]


def decide(answers: AnswerSet, policy: Policy, *, risk: str = "normal", same: Same | None = None) -> Decision:
    """ANSWER, OFFER_SET, ABSTAIN or ESCALATE, by the first rule of the policy that applies.

    The mass of some answers is the sum of their (recalibrated) confidences, the expected number of right ones among
    them. An answer equal to an earlier one of the set is dropped before anything is counted.

    1. The completion is not CLEAN, lacks a confidence, or its answers cannot be compared: ``when_malformed``.
    2. The mass of all answers is below ``abstain_below``: ABSTAIN.
    3. The confidences are spread over more than ``max_effective`` answers (`effective_number`): ESCALATE.
    4. The most confident answer reaches ``answer_at``: ANSWER.
    5. The mass of the first answers, the most confident first, reaches ``offer_at``: OFFER_SET of the fewest that do.
    6. With ``offer_all``: OFFER_SET of all answers. Otherwise ESCALATE.

    Equal confidences rank in slot order.

    Args:
        answers: the result of `parse_answers`.
        policy: the rules.
        risk: of the question. ``high`` allows only ESCALATE and OFFER_SET: rule 4 is skipped, ABSTAIN becomes ESCALATE.
        same: equality of answers, instead of the policy's; use the one that the policy was fitted with.

    Raises:
        ConfigError: unknown risk, or a K other than the policy's.
    """
    if risk not in RISKS:
        raise ConfigError(f"risk = {risk!r} is not known: use one of {', '.join(RISKS)}")
    if policy.k is not None and answers.k != policy.k:
        raise ConfigError(
            f"k = {answers.k} does not suit the policy, which was calibrated with k = {policy.k}: ask for {policy.k} "
            "answers, or calibrate again"
        )
    is_high = risk == "high"
    problem = _problem(answers)
    slots: tuple[int, ...] = ()
    if not problem:
        texts, stated = [a.text for a in answers.answers], [a.confidence or 0.0 for a in answers.answers]
        try:
            slots = ranked_slots(texts, stated, same or equality(policy.equality))
        except VerifierFault as exc:
            problem = f"its answers cannot be compared: {exc}"
    if problem:
        kind = DecisionKind.ESCALATE if is_high else DecisionKind(policy.when_malformed)
        return Decision(kind, (), (), f"The completion cannot be used: {problem}.")
    ranked = tuple(_recalibrated(answers.answers[slot], policy) for slot in slots)
    return _decided(ranked, policy, is_high)


def _decided(ranked: tuple[Answer, ...], policy: Policy, is_high: bool) -> Decision:
    q = [answer.confidence or 0.0 for answer in ranked]
    masses = list(accumulate(q))
    top, total, everything = q[0], masses[-1], _count(len(q))
    if total < policy.abstain_below - TOLERANCE:
        kind = DecisionKind.ESCALATE if is_high else DecisionKind.ABSTAIN
        reason = (
            f"{everything} {_combined(len(q))} {_text(total)}, "
            f"below the {_text(policy.abstain_below)} required to show anything"
        )
        return Decision(kind, (), ranked, _sentence(reason, is_high, "the risk is high, so a person takes over"))
    effective = effective_number(q)
    if policy.max_effective is not None and effective > policy.max_effective + TOLERANCE:
        reason = (
            f"Confidence is spread over {_text(effective)} answers, more than the {_text(policy.max_effective)} allowed"
        )
        return Decision(DecisionKind.ESCALATE, (), ranked, f"{reason}.")
    is_sure = policy.answer_at is not None and top >= policy.answer_at - TOLERANCE
    if is_sure and not is_high:
        reason = (
            f"The most confident answer {_combined(1)} {_text(top)}, "
            f"at least the {_text(policy.answer_at)} required for a single answer."
        )
        return Decision(DecisionKind.ANSWER, ranked[:1], ranked, reason)
    aside = "the risk is high, so no single answer is given"
    if policy.offer_at is None:
        if policy.answer_at is None:
            return Decision(
                DecisionKind.ESCALATE, (), ranked, "The policy has no threshold at which anything is shown."
            )
        relation = "at least" if is_sure else "below"
        reason = (
            f"The most confident answer {_combined(1)} {_text(top)}, {relation} the {_text(policy.answer_at)} required "
            "for a single answer"
        )
        return Decision(DecisionKind.ESCALATE, (), ranked, _sentence(reason, is_sure, aside))
    least = policy.offer_at - TOLERANCE
    size = next((i for i, mass in enumerate(masses, 1) if mass >= least), None)
    if size is None:
        reason = (
            f"{everything} {_combined(len(q))} {_text(total)}, below the {_text(policy.offer_at)} required for an "
            "offered set"
        )
        if not policy.offer_all:
            return Decision(DecisionKind.ESCALATE, (), ranked, f"{reason}.")
        return Decision(DecisionKind.OFFER_SET, ranked, ranked, f"{reason}, so all are offered.")
    which = "The first answer" if size == 1 else f"The first {size} answers"
    reason = (
        f"{which} {_combined(size)} {_text(masses[size - 1])}, at least the {_text(policy.offer_at)} required for an "
        "offered set"
    )
    if policy.answer_at is not None and not is_sure:
        reason += (
            f"; the first alone has {_text(top)}, below the {_text(policy.answer_at)} required for a single answer"
        )
    return Decision(DecisionKind.OFFER_SET, ranked[:size], ranked, _sentence(reason, is_sure, aside))


def effective_number(q: Sequence[float]) -> float:
    """exp(entropy) of the normalised confidences: 1 when one answer has all, n when n share it equally.

        exp(-Σ p_i log p_i),    p_i = q_i / Σ q

    NaN when no answer has any confidence.
    """
    total = sum(q)
    if not total > 0:
        return math.nan
    return math.exp(-sum(x / total * math.log(x / total) for x in q if x / total > 0))


def ranked_slots(texts: Sequence[str], confidences: Sequence[float], same: Same) -> tuple[int, ...]:
    """Slots of the answers that are not duplicates, the most confident first, ties in slot order."""
    firsts: list[int] = []
    for slot, text in enumerate(texts):
        if not any(same(text, texts[first]) for first in firsts):
            firsts.append(slot)
    return tuple(sorted(firsts, key=lambda slot: -confidences[slot]))


def equality(name: str) -> Same:
    """The equality that a policy calls ``name``."""
    return TextVerifier().same if name == "text" else str.__eq__


def _problem(answers: AnswerSet) -> str:
    """Why no decision can be made on these answers; empty when one can."""
    if not answers.is_clean:
        return answers.reason or f"it is {answers.status.value}"
    for number, answer in enumerate(answers.answers, 1):
        if answer.confidence is None:
            return f"answer {number} has no confidence"
        if not 0 <= answer.confidence <= 1:
            return f"the confidence {answer.confidence} of answer {number} is not between 0 and 1"
    return "" if answers.answers else "it contains no answer"


def _recalibrated(answer: Answer, policy: Policy) -> Answer:
    if policy.recalibration is None or answer.confidence is None:
        return answer
    return replace(answer, confidence=policy.recalibration(answer.confidence))


def _count(n: int) -> str:
    return {1: "The only answer", 2: "Both answers"}.get(n, f"All {n} answers")


def _combined(n: int) -> str:
    return "has a confidence of" if n == 1 else "have a combined confidence of"


def _text(value: float | None) -> str:
    return f"{value or 0.0:.4g}"


def _sentence(reason: str, has_aside: bool, aside: str) -> str:
    return f"{reason}; {aside}." if has_aside else f"{reason}."
