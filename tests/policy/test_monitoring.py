"""Alarms of a deployment: limits, what is counted where, and what they say."""

import numpy as np
import pytest

from polymode.policy import Guarantee, Policy
from polymode.policy import monitoring as m
from polymode.policy.reference import CONFIDENCES, INPUTS, N_WORDS, Reference
from polymode.uncertainty.betting import ExchangeabilityTest, RateTest

RNG = np.random.default_rng(0)
REFERENCE = Reference(
    inputs=tuple(tuple(sorted(RNG.normal(size=300).tolist())) for _ in INPUTS),
    directions=tuple((0.0,) * N_WORDS for _ in range(5)),
    confidences=tuple(tuple(sorted(RNG.random(300).tolist())) for _ in CONFIDENCES),
)


def guarantee(decision: str, alpha: float) -> Guarantee:
    threshold = {"answer": 0.8, "offer_set": 0.5}[decision]
    return Guarantee(decision, "...", "learn-then-test", alpha, 0.05, threshold, alpha, 100, 50, 1)


BOTH = Policy(answer_at=0.8, offer_at=0.5).with_guarantees(guarantee("answer", 0.1), guarantee("offer_set", 0.2))


def test_limits_share_the_rate_of_alarms() -> None:
    # 0.025 for the guarantees, two of them: 80 each. 0.025 for the eleven measures: 440 each.
    assert [one.limit for one in m.GuaranteeMonitor(BOTH).evidence()] == pytest.approx([80, 80])
    drift = m.DriftMonitor(REFERENCE)
    assert drift.n_measures == 11 and [one.limit for one in drift.evidence()] == pytest.approx([440] * 11)
    total = sum(1 / one.limit for one in drift.evidence() + m.GuaranteeMonitor(BOTH).evidence())
    assert total == pytest.approx(m.ALARM_RATE)
    assert m.DriftMonitor(None).evidence() == [] == m.GuaranteeMonitor(Policy()).evidence()


def test_only_the_guarantee_of_a_decision_counts_it() -> None:
    monitor, own = m.GuaranteeMonitor(BOTH), RateTest(0.1)
    own.observe([True, False, True])
    for number, failed in enumerate([True, False, True]):
        monitor.observe(number, "", "answer", failed)
        monitor.observe(number, "", "escalate", True)
        monitor.observe(number, "other", "answer", True)
    answer, sets = monitor.evidence()
    assert (answer.n, answer.wealth, answer.peak) == (3, pytest.approx(own.wealth), pytest.approx(own.peak))
    assert (sets.n, sets.wealth) == (0, 1.0)


def test_an_alarm_names_the_question_that_raised_it_and_stays() -> None:
    monitor = m.GuaranteeMonitor(BOTH)
    for number in range(0, 40, 2):
        monitor.observe(number, "", "answer", True)
    own = RateTest(0.1)
    first = int(np.argmax(own.observe([True] * 20) >= 80))
    for number in range(40, 400):
        monitor.observe(number, "", "answer", False)
    [alarm, _] = monitor.evidence()
    assert alarm.alarm_at == 2 * first + 1 and alarm.is_alarm and alarm.wealth < 80
    assert alarm.sentence.startswith("the guarantee on single answers does not hold")


def test_groups_have_names() -> None:
    part = Policy(answer_at=0.8).with_guarantees(guarantee("answer", 0.1))
    monitor = m.GuaranteeMonitor(Policy(by="risk", groups={"low": part, "mid": part}))
    assert [one.name for one in monitor.evidence()] == ["single answers of low", "single answers of mid"]
    monitor.observe(0, "mid", "answer", True)
    assert [one.n for one in monitor.evidence()] == [0, 1]


def test_measures_go_to_their_tests_and_questions_without_them_are_skipped() -> None:
    drift = m.DriftMonitor(REFERENCE)
    n = 60
    inputs, sets = RNG.normal(size=(n, len(INPUTS))), RNG.random((n, len(CONFIDENCES)))
    u = RNG.random((n, drift.n_measures))
    rows = [row.tolist() if i % 3 else [] for i, row in enumerate(inputs)]
    drift.observe({m.QUESTIONS: rows[:25], m.SETS: sets[:25].tolist()}, u[:25].tolist())
    drift.observe({m.QUESTIONS: rows[25:], m.SETS: sets[25:].tolist()}, u[25:].tolist())
    has_measures = np.arange(n) % 3 > 0
    for place, own in enumerate(REFERENCE.inputs):
        test = ExchangeabilityTest(own)
        test.observe(inputs[has_measures, place].tolist(), u[has_measures, place].tolist())
        assert drift.evidence()[place].wealth == pytest.approx(test.wealth)
        assert drift.evidence()[place].n == 40
    test = ExchangeabilityTest(REFERENCE.confidences[1])
    test.observe(sets[:, 1].tolist(), u[:, len(INPUTS) + 1].tolist())
    assert drift.evidence()[-1].wealth == pytest.approx(test.wealth) and drift.n == n


def test_a_change_of_questions_is_told_from_one_of_confidences() -> None:
    drift = m.DriftMonitor(REFERENCE)
    u = RNG.random((700, drift.n_measures)).tolist()
    inputs = RNG.normal(size=(700, len(INPUTS)))
    inputs[300:, 0] += 1
    sets = RNG.random((700, len(CONFIDENCES)))
    drift.observe({m.QUESTIONS: inputs.tolist(), m.SETS: sets.tolist()}, u)
    [alarm] = [one for one in drift.evidence() if one.is_alarm]
    assert (alarm.kind, alarm.name) == (m.QUESTIONS, "length") and 300 < (alarm.alarm_at or 0) < 600
    assert alarm.sentence == "the questions are not those of the calibration any more, by their length"


def test_it_watches_a_bounded_number_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "MAX_QUESTIONS", 10)
    drift = m.DriftMonitor(Reference(confidences=REFERENCE.confidences))
    for _ in range(3):
        drift.observe({m.SETS: [(0.5, 0.5)] * 6}, [(0.5, 0.5)] * 6)
    assert drift.n == 18 and [one.n for one in drift.evidence()] == [10, 10]
