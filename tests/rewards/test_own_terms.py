"""Terms of one's own: what they add, where they are credited, and what happens when they fail."""

import math
from dataclasses import replace

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.judging import judge
from polymode.rewards import METHODS, Reward, score_set, term_names
from polymode.rewards.slots import slot_scores
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Span
from polymode.verifiers.text import TextVerifier

HERE = __name__
VALUES: list[object] = []
"""What `given` returns."""


def brevity(judgement: Judgement) -> list[float]:
    return [1 / len(answer.text) for answer in judgement.answer_set.answers]


class Doubt:
    """One number for the set: minus the mean confidence."""

    def __call__(self, judgement: Judgement) -> float:
        qs = [answer.confidence or 0.0 for answer in judgement.answer_set.answers]
        return -sum(qs) / len(qs)


def given(judgement: Judgement) -> object:
    return VALUES[0]


def failing(judgement: Judgement) -> float:
    raise KeyError("no such word")


class Needy:
    def __init__(self, word: str) -> None:
        self.word = word


def coverage(judgement: Judgement) -> float:
    return 0.0


NOT_A_TERM = 3

SET = judge(
    Example("", "", (Reference("ab"), Reference("abcd"))),
    AnswerSet(ParseStatus.CLEAN, (Answer("ab", Span(0, 2), 0.5), Answer("abcd", Span(0, 4), 0.25)), 2, True),
    TextVerifier(),
)
"""Both answers are right."""


def test_a_term_adds_its_weight_times_its_value() -> None:
    reward = Reward(terms={f"{HERE}:brevity": 0.4, f"{HERE}:Doubt": 2}, format_weight=4)
    assert term_names(reward) == ["brevity", "Doubt", "coverage", "brier", "format"]
    score = score_set(SET, reward)
    # .4 (1/2 + 1/4) / 2; -2 (.5 + .25) / 2; Brier -(.25 + .5625) / 2.
    assert score.terms == pytest.approx(
        {"brevity": 0.15, "Doubt": -0.75, "coverage": 2, "brier": -0.40625, "format": 4}
    )
    assert score.total == pytest.approx(sum(score.terms.values()))


def test_numbers_of_answers_are_credited_to_answers_and_one_number_to_the_set() -> None:
    reward = Reward(terms={f"{HERE}:brevity": 0.4, f"{HERE}:Doubt": 2}, format_weight=4)
    slots = slot_scores([score_set(SET, reward)], reward, 3)
    np.testing.assert_allclose(slots.coverage_NK, [[1 + 0.4 / 4, 1 + 0.4 / 8, math.nan]])
    np.testing.assert_allclose(slots.confidence_NK, [[-0.125, -0.28125, math.nan]])
    np.testing.assert_allclose(slots.if_hit_NK, [[-0.125, -0.28125, math.nan]])
    np.testing.assert_allclose(slots.if_miss_NK, [[-0.125, -(0.25**2) / 2, math.nan]])
    rest = slots.total_N - np.nansum(slots.coverage_NK) - np.nansum(slots.confidence_NK)
    np.testing.assert_allclose(rest, 4 - 0.75)  # format and the one number of the set


def test_malformed_text_stays_lowest() -> None:
    reward = METHODS["multi-rlcr"].reward(k=2, terms={f"{HERE}:Doubt": -3.0})
    assert reward.format_weight == 4  # 1 for the Brier term, 3 for Doubt
    with pytest.raises(ConfigError, match="could score below malformed text .0.; raise format_weight to 4"):
        Reward(terms={f"{HERE}:Doubt": -3.0})
    malformed = Judgement(AnswerSet(ParseStatus.MALFORMED, (), 2, True, "no tags"), (), (), (), (), 2)
    assert score_set(malformed, reward).terms == {"Doubt": 0, "coverage": 0, "brier": 0, "format": 0}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, "RecordError: value nan is not allowed: return numbers from -1 to 1"),
        (1.5, "RecordError: value 1.5 is not allowed"),
        ([0.5, -2], "RecordError: value -2.0 is not allowed"),
        ([0.5], "RecordError: 1 values for 2 answers: return one number, or one for each answer"),
        (None, "TypeError"),
    ],
)
def test_a_value_that_is_not_allowed_is_a_fault(value: object, fault: str) -> None:
    VALUES[:] = [value]
    score = score_set(SET, Reward(terms={f"{HERE}:given": 0.0}))
    assert score.total is None and score.terms == {}
    assert score.judgement.faults[0].startswith(f"term given: {fault}")


def test_a_term_that_raises_is_a_fault_with_its_text() -> None:
    score = score_set(SET, Reward(terms={f"{HERE}:failing": 0.5}, format_weight=2))
    assert score.total is None
    assert score.judgement == replace(SET, faults=("term failing: KeyError: 'no such word'",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.at_all:term", "term 'nowhere.at_all:term' cannot be imported"),
        (f"{HERE}:absent", "term '.*:absent' does not exist: module .* has no 'absent'"),
        (f"{HERE}:NOT_A_TERM", "term '.*:NOT_A_TERM' is not a function: name one"),
        (f"{HERE}:Needy", "term '.*:Needy': word must be given as term options"),
        (f"{HERE}:coverage", "terms: '.*:coverage' has the name of another term, 'coverage': rename it"),
        ("brevity", "term = 'brevity' is not known"),
    ],
)
def test_what_is_no_term_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        term_names(Reward(terms={name: 0.0}))
    assert "\n" not in str(caught.value)


def test_weights_are_finite_numbers() -> None:
    with pytest.raises(ConfigError, match="terms: the weight of 'a:b' is nan: use a finite number"):
        Reward(terms={"a:b": math.nan})
