"""Whether a policy's guarantee holds for one decision, and why not (layer L2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from polymode.policy.conditions import Conditions
from polymode.policy.policy import RISK, Policy
from polymode.types import DecisionKind


class Claim(NamedTuple):
    """What may be said to the person who sees a decision."""

    guarantee: str | None
    """The guarantee, as a sentence; None where there is none."""
    reason: str | None
    """Why there is none; None where there is one, where nothing is shown, and where the policy guarantees nothing."""


def claim(
    policy: Policy,
    kind: DecisionKind,
    question: str,
    *,
    served: Conditions | None,
    risk: str = "normal",
    meta: Mapping[str, object] | None = None,
) -> Claim:
    """The guarantee of a decision, if it was fitted on what is served.

    Args:
        policy: that decided.
        kind: of the decision.
        question: its text.
        served: how the completion came about; None where that is not known.
        risk: of the question, as for `decide`.
        meta: further fields of the question, as for `decide`.

    Raises:
        ConfigError: a risk or group that the policy does not know.
    """
    if kind in (DecisionKind.ABSTAIN, DecisionKind.ESCALATE) or not policy.promises:
        return Claim(None, None)
    sentence = next(
        (one.statement for one in policy.rules_for(risk, meta).guarantees if one.decision == kind.value), None
    )
    if sentence is None:
        return Claim(None, "the policy guarantees nothing about such decisions")
    if (problem := unlike(policy, served)) is not None:
        return Claim(None, problem)
    if risk == "high" and policy.by != RISK:
        return Claim(None, "the policy was not calibrated on questions of high risk by themselves")
    assert policy.conditions is not None  # unlike
    questions = policy.conditions.questions
    if questions is None:
        return Claim(None, "the questions of the calibration are not recorded")
    inputs = policy.conditions.inputs
    difference = questions.difference(question) or (inputs.difference(question) if inputs is not None else "")
    return Claim(None, difference) if difference else Claim(sentence, None)


def unlike(policy: Policy, served: Conditions | None) -> str | None:
    """Why no guarantee of the policy holds for what is served; None where it may."""
    if policy.conditions is None:
        return "the policy does not record what it was calibrated on"
    return "; ".join(policy.conditions.differences(served)) or None
