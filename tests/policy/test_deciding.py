"""Decisions: each rule by hand, then what holds for every answer set and policy."""

import math
from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError, VerifierFault
from polymode.policy import Policy, Recalibration, decide, effective_number
from polymode.types import Answer, AnswerSet, Decision, DecisionKind, ParseStatus, Span

Make = Callable[..., AnswerSet]
FULL = Policy(abstain_below=0.2, max_effective=2.8, answer_at=0.7, offer_at=0.8)


def texts(decision: Decision) -> list[str]:
    return [answer.text for answer in decision.answers]


# --- the rules, one by one -------------------------------------------------------------------------------------------


def test_a_confident_answer_is_given(make_set: Make) -> None:
    decision = decide(make_set(("flu", 0.2), ("covid", 0.75)), FULL)
    assert decision.kind is DecisionKind.ANSWER and texts(decision) == ["covid"]
    assert [a.text for a in decision.ranked] == ["covid", "flu"]
    assert (
        decision.reason
        == "The most confident answer has a confidence of 0.75, at least the 0.7 required for a single answer."
    )


def test_the_shortest_prefix_with_enough_mass_is_offered(make_set: Make) -> None:
    # 0.5, 0.8, 0.9: two answers hold 0.8.
    decision = decide(make_set(("a", 0.1), ("b", 0.3), ("c", 0.5)), FULL)
    assert decision.kind is DecisionKind.OFFER_SET and texts(decision) == ["c", "b"]
    assert decision.reason == (
        "The first 2 answers have a combined confidence of 0.8, "
        "at least the 0.8 required for an offered set; the first alone has 0.5, below the 0.7 required for a "
        "single answer."
    )


def test_one_answer_may_be_a_set(make_set: Make) -> None:
    decision = decide(make_set(("a", 0.9), ("b", 0.3)), Policy(offer_at=0.8))
    assert decision.kind is DecisionKind.OFFER_SET and texts(decision) == ["a"]
    assert decision.reason == "The first answer has a confidence of 0.9, at least the 0.8 required for an offered set."


def test_too_little_mass_is_escalated_or_offered_whole(make_set: Make) -> None:
    answers = make_set(("a", 0.4), ("b", 0.2))
    decision = decide(answers, Policy(offer_at=0.8))
    assert decision.kind is DecisionKind.ESCALATE and texts(decision) == []
    assert (
        decision.reason == "Both answers have a combined confidence of 0.6, below the 0.8 required for an offered set."
    )
    decision = decide(answers, Policy(offer_at=0.8, offer_all=True))
    assert decision.kind is DecisionKind.OFFER_SET and texts(decision) == ["a", "b"]
    assert (
        decision.reason == "Both answers have a combined confidence of 0.6, "
        "below the 0.8 required for an offered set, so all are offered."
    )


def test_a_doubtful_answer_is_escalated(make_set: Make) -> None:
    decision = decide(make_set(("a", 0.4)), Policy(answer_at=0.8))
    assert decision.kind is DecisionKind.ESCALATE
    assert (
        decision.reason
        == "The most confident answer has a confidence of 0.4, below the 0.8 required for a single answer."
    )


def test_low_confidence_abstains(make_set: Make) -> None:
    decision = decide(make_set(("a", 0.1), ("b", 0.05), ("c", 0.0)), FULL)
    assert decision.kind is DecisionKind.ABSTAIN and texts(decision) == [] and len(decision.ranked) == 3
    assert (
        decision.reason == "All 3 answers have a combined confidence of 0.15, below the 0.2 required to show anything."
    )
    high = decide(make_set(("a", 0.1)), FULL, risk="high")
    assert high.kind is DecisionKind.ESCALATE
    assert high.reason == (
        "The only answer has a confidence of 0.1, "
        "below the 0.2 required to show anything; the risk is high, so a person takes over."
    )


def test_high_dispersion_is_escalated(make_set: Make) -> None:
    decision = decide(make_set(("a", 0.3), ("b", 0.3), ("c", 0.3)), FULL)
    assert decision.kind is DecisionKind.ESCALATE
    assert decision.reason == "Confidence is spread over 3 answers, more than the 2.8 allowed."


def test_a_policy_without_thresholds_escalates(make_set: Make) -> None:
    decision = decide(make_set(("a", 1.0)), Policy())
    assert decision.kind is DecisionKind.ESCALATE
    assert decision.reason == "The policy has no threshold at which anything is shown."


def test_at_high_risk_a_set_is_offered_where_an_answer_would_be_given(make_set: Make) -> None:
    answers = make_set(("a", 0.9), ("b", 0.1))
    assert decide(answers, FULL).kind is DecisionKind.ANSWER
    decision = decide(answers, FULL, risk="high")
    assert decision.kind is DecisionKind.OFFER_SET and texts(decision) == ["a"]
    assert decision.reason == (
        "The first answer has a confidence of 0.9, "
        "at least the 0.8 required for an offered set; the risk is high, so no single answer is "
        "given."
    )
    decision = decide(answers, Policy(answer_at=0.7), risk="high")
    assert decision.kind is DecisionKind.ESCALATE
    assert decision.reason == (
        "The most confident answer has a confidence of 0.9, "
        "at least the 0.7 required for a single answer; the risk is high, so no single answer "
        "is given."
    )


# --- completions that cannot be used ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [ParseStatus.MALFORMED, ParseStatus.TRUNCATED, ParseStatus.PARTIAL])
def test_malformed_output_follows_its_own_rule(status: ParseStatus, make_set: Make) -> None:
    kept = make_set(("a", 0.9)).answers if status is ParseStatus.PARTIAL else ()
    answers = AnswerSet(status, kept, 3, True, "slot 2: <answer2> is empty")
    decision = decide(answers, Policy(answer_at=0.5))
    assert decision.kind is DecisionKind.ESCALATE and decision.ranked == ()
    assert decision.reason == "The completion cannot be used: slot 2: <answer2> is empty."
    assert decide(answers, Policy(when_malformed="abstain")).kind is DecisionKind.ABSTAIN
    assert decide(answers, Policy(when_malformed="abstain"), risk="high").kind is DecisionKind.ESCALATE


@pytest.mark.parametrize(
    ("q", "said"),
    [
        (None, "answer 2 has no confidence"),
        (1.5, "the confidence 1.5 of answer 2 is not between 0 and 1"),
        (math.nan, "the confidence nan of answer 2 is not between 0 and 1"),
    ],
)
def test_answers_that_cannot_be_ranked_cannot_be_used(q: float | None, said: str, make_set: Make) -> None:
    decision = decide(make_set(("a", 0.9), ("b", q)), FULL)
    assert (decision.kind, decision.reason) == (DecisionKind.ESCALATE, f"The completion cannot be used: {said}.")


def test_answers_that_cannot_be_compared_cannot_be_used(make_set: Make) -> None:
    def same(a: str, b: str) -> bool:
        raise VerifierFault("no reply")

    decision = decide(make_set(("a", 0.9), ("b", 0.1)), FULL, same=same)
    assert decision.kind is DecisionKind.ESCALATE
    assert decision.reason == "The completion cannot be used: its answers cannot be compared: no reply."


def test_a_set_without_answers_cannot_be_used() -> None:
    empty = AnswerSet(ParseStatus.CLEAN, (), 1, True)
    assert decide(empty, FULL).reason == "The completion cannot be used: it contains no answer."


def test_what_does_not_suit_is_refused(make_set: Make) -> None:
    with pytest.raises(ConfigError, match="risk = 'low' is not known: use one of normal, high"):
        decide(make_set(("a", 0.9)), FULL, risk="low")
    with pytest.raises(ConfigError, match="k = 1 does not suit the policy, which was calibrated with k = 3: ask for 3"):
        decide(make_set(("a", 0.9)), Policy(k=3))


# --- what is counted -------------------------------------------------------------------------------------------------


def test_a_repeat_adds_no_mass(make_set: Make) -> None:
    # Counted twice, flu would hold 0.9. The first of equal answers is the one that counts, as in judging.
    answers = make_set(("flu", 0.4), ("The Flu.", 0.5), ("cold", 0.1))
    decision = decide(answers, Policy(offer_at=0.45))
    assert [(a.text, a.confidence) for a in decision.ranked] == [("flu", 0.4), ("cold", 0.1)]
    assert texts(decision) == ["flu", "cold"]
    exact = decide(answers, Policy(offer_at=0.45, equality="exact"))
    assert len(exact.ranked) == 3
    halves = decide(make_set(("1/2", 0.4), ("0.5", 0.5)), Policy(), same=lambda a, b: True)
    assert [a.text for a in halves.ranked] == ["1/2"]


def test_confidences_are_recalibrated_before_anything_is_compared(make_set: Make) -> None:
    # logit(0.8) / 2 is the logit of 2 / 3, below 0.7; that of 0.9 is 3 / 4.
    policy = Policy(answer_at=0.7, recalibration=Recalibration("temperature", 9, slope=0.5))
    assert decide(make_set(("a", 0.8)), policy).kind is DecisionKind.ESCALATE
    decision = decide(make_set(("b", 0.2), ("a", 0.9)), policy)
    assert decision.kind is DecisionKind.ANSWER and decision.answers[0].confidence == pytest.approx(0.75)


def test_answers_that_a_map_makes_equal_keep_their_order(make_set: Make) -> None:
    policy = Policy(offer_at=0.5, recalibration=Recalibration("isotonic", 9, points=((0.5, 0.5),)))
    assert texts(decide(make_set(("a", 0.6), ("b", 0.7)), policy)) == ["b"]


def test_the_effective_number_of_answers() -> None:
    assert effective_number([0.3, 0.3]) == pytest.approx(2)
    assert effective_number([0.9, 0.0]) == pytest.approx(1)
    # p = (3/4, 1/4): exp(0.75 log(4/3) + 0.25 log 4) = 4 / 3^0.75
    assert effective_number([0.6, 0.2]) == pytest.approx(4 / 3**0.75)
    assert math.isnan(effective_number([0.0, 0.0]))


# --- what always holds -----------------------------------------------------------------------------------------------

sets = st.lists(
    st.tuples(st.sampled_from(["flu", "The flu", "cold", "gout", "rash", "acne"]), st.integers(0, 20)),
    min_size=1,
    max_size=6,
).map(
    lambda pairs: AnswerSet(
        ParseStatus.CLEAN, tuple(Answer(text, Span(0, len(text)), q / 20) for text, q in pairs), len(pairs), True
    )
)
policies = st.builds(
    Policy,
    abstain_below=st.floats(0, 1),
    max_effective=st.none() | st.floats(1, 6),
    answer_at=st.none() | st.floats(0, 1),
    offer_at=st.none() | st.floats(0, 3),
    offer_all=st.booleans(),
)


@given(answers=sets, policy=policies)
def test_high_risk_offers_a_set_or_escalates(answers: AnswerSet, policy: Policy) -> None:
    high, normal = decide(answers, policy, risk="high"), decide(answers, policy)
    assert high.kind in (DecisionKind.OFFER_SET, DecisionKind.ESCALATE)
    if normal.kind is not DecisionKind.ANSWER and normal.kind is not DecisionKind.ABSTAIN:
        assert (high.kind, high.answers) == (normal.kind, normal.answers)


@given(answers=sets, policy=policies)
def test_an_offered_set_is_the_shortest_prefix(answers: AnswerSet, policy: Policy) -> None:
    decision = decide(answers, policy, risk="high")
    q = [answer.confidence or 0.0 for answer in decision.ranked]
    assert q == sorted(q, reverse=True) and decision.answers == decision.ranked[: len(decision.answers)]
    if decision.kind is DecisionKind.OFFER_SET:
        assert policy.offer_at is not None
        masses = list(accumulate(q))
        size = len(decision.answers)
        assert all(mass < policy.offer_at for mass in masses[: size - 1])
        assert masses[size - 1] >= policy.offer_at - 1e-9 or (policy.offer_all and size == len(q))


@given(answers=sets, policy=policies, higher=st.floats(0, 1))
def test_higher_thresholds_never_show_more_often_nor_shorter_sets(
    answers: AnswerSet, policy: Policy, higher: float
) -> None:
    strict = Policy(
        abstain_below=policy.abstain_below,
        max_effective=policy.max_effective,
        answer_at=None if policy.answer_at is None else min(1, policy.answer_at + higher),
        offer_at=None if policy.offer_at is None else policy.offer_at + higher,
        offer_all=policy.offer_all,
    )
    before, after = decide(answers, policy), decide(answers, strict)
    if after.kind is DecisionKind.ANSWER:
        assert before.kind is DecisionKind.ANSWER
    before, after = decide(answers, policy, risk="high"), decide(answers, strict, risk="high")
    if after.kind is DecisionKind.OFFER_SET:
        assert before.kind is DecisionKind.OFFER_SET and len(before.answers) <= len(after.answers)


@given(answers=sets, policy=policies, risk=st.sampled_from(["normal", "high"]))
def test_what_is_shown_suits_the_decision_and_has_one_reason(answers: AnswerSet, policy: Policy, risk: str) -> None:
    decision = decide(answers, policy, risk=risk)
    shown = {DecisionKind.ANSWER: [1], DecisionKind.OFFER_SET: range(1, 7)}.get(decision.kind, [0])
    assert len(decision.answers) in shown
    assert decision.reason.endswith(".") and ". " not in decision.reason and decision.reason[0].isupper()
