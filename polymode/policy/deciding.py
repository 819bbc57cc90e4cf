"""From an answer set and a policy to a decision with its reason (layer L2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from polymode.errors import ConfigError, VerifierFault
from polymode.policy.policy import Policy
from polymode.types import Answer, AnswerSet, Decision, DecisionKind
from polymode.verifiers.text import TextVerifier

TOLERANCE = 1e-9
"""A value that misses a threshold by no more than this reaches it: 0.1 + 0.2 reaches 0.3."""

Same = Callable[[str, str], bool]


def decide(
    answers: AnswerSet,
    policy: Policy,
    *,
    risk: str = "normal",
    meta: Mapping[str, object] | None = None,
    same: Same | None = None,
) -> Decision:
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
        policy: the rules; one with groups applies those of the question's group (`Policy.rules_for`).
        risk: of the question: a class of the policy, without classes normal or high. ``high`` allows only ESCALATE and
            OFFER_SET in every policy: rule 4 is skipped, ABSTAIN becomes ESCALATE.
        meta: further fields of the question, for a policy that tells questions apart by one of them.
        same: equality of answers, instead of the policy's; use the one that the policy was fitted with.

    Raises:
        ConfigError: a risk or group that the policy does not know, or a K other than the policy's.
    """
    policy = policy.rules_for(risk, meta)
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
    ranked = [answers.answers[slot] for slot in slots]
    if policy.recalibration is not None:
        ranked = [replace(answer, confidence=policy.recalibration(answer.confidence or 0.0)) for answer in ranked]
    return _decided(tuple(ranked), policy, is_high)


def _decided(ranked: tuple[Answer, ...], policy: Policy, is_high: bool) -> Decision:
    """Rules 2 to 6, on the distinct answers with their recalibrated confidences."""
    q = [answer.confidence or 0.0 for answer in ranked]
    masses = list(accumulate(q))
    everything = _mass({1: "The only answer", 2: "Both answers"}.get(len(q), f"All {len(q)} answers"), masses)
    if masses[-1] < policy.abstain_below - TOLERANCE:
        reason = f"{everything}, below the {policy.abstain_below:.4g} required to show anything"
        if is_high:
            return _escalated(ranked, f"{reason}; the risk is high, so a person takes over.")
        return Decision(DecisionKind.ABSTAIN, (), ranked, f"{reason}.")
    effective = effective_number(q)
    if policy.max_effective is not None and effective > policy.max_effective + TOLERANCE:
        spread = f"Confidence is spread over {effective:.4g} answers"
        return _escalated(ranked, f"{spread}, more than the {policy.max_effective:.4g} allowed.")
    is_sure = policy.answer_at is not None and q[0] >= policy.answer_at - TOLERANCE
    best = _mass("The most confident answer", masses[:1])
    single = f"the {policy.answer_at or 0:.4g} required for a single answer"
    if is_sure and not is_high:
        return Decision(DecisionKind.ANSWER, ranked[:1], ranked, f"{best}, at least {single}.")
    end = "; the risk is high, so no single answer is given." if is_sure else "."
    if policy.offer_at is None:
        if policy.answer_at is None:
            return _escalated(ranked, "The policy has no threshold at which anything is shown.")
        return _escalated(ranked, f"{best}, {'at least' if is_sure else 'below'} {single}{end}")
    offered = f"the {policy.offer_at:.4g} required for an offered set"
    least = policy.offer_at - TOLERANCE
    size = next((i for i, mass in enumerate(masses, 1) if mass >= least), None)
    if size is None:
        if not policy.offer_all:
            return _escalated(ranked, f"{everything}, below {offered}.")
        return Decision(DecisionKind.OFFER_SET, ranked, ranked, f"{everything}, below {offered}, so all are offered.")
    first = "The first answer" if size == 1 else f"The first {size} answers"
    reason = f"{_mass(first, masses[:size])}, at least {offered}"
    if policy.answer_at is not None and not is_sure:
        reason += f"; the first alone has {q[0]:.4g}, below {single}"
    return Decision(DecisionKind.OFFER_SET, ranked[:size], ranked, reason + end)


def _escalated(ranked: tuple[Answer, ...], reason: str) -> Decision:
    return Decision(DecisionKind.ESCALATE, (), ranked, reason)


def _mass(answers: str, masses: Sequence[float]) -> str:
    """The mass of some answers in words; ``masses`` of the first one, the first two, ... of them."""
    has = "has a confidence of" if len(masses) == 1 else "have a combined confidence of"
    return f"{answers} {has} {masses[-1]:.4g}"


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
