"""Questions unlike those of the calibration: what is caught, what is not, and what the limit proves."""

import json
import math
import random
from dataclasses import replace

import pytest

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.policy import Conditions, Policy, decide
from polymode.policy.inputs import ALPHA, DELTA, LEAST, InputCheck, _allowed, fit_input_check, screened
from polymode.tasks.lab.clinic import Clinic
from polymode.types import DecisionKind

QUESTIONS = [example.question for example in Clinic().examples("validation", 1200)]
FITTED = fit_input_check(QUESTIONS[:700])
assert FITTED is not None
CHECK: InputCheck = FITTED
TEXT = "<answer1>flu</answer1><confidence1>0.9</confidence1><answer2>cold</answer2><confidence2>0.1</confidence2>"


@pytest.mark.parametrize(
    "question",
    ["asdf", "What is the capital of France?", "胸が痛くて熱があります。", "x" * 200, "1234 !!!", "   ", "\ud800"],
)
def test_other_questions_are_caught(question: str) -> None:
    assert CHECK.difference(question).startswith("the question is unlike those of the calibration: ")


def test_few_questions_of_the_same_kind_are_taken_for_others() -> None:
    others = QUESTIONS[700:]
    assert sum(bool(CHECK.difference(one)) for one in others) <= 2 * ALPHA * len(others)
    assert CHECK.n_tested == round(0.15 * 700) and CHECK.n_alarms <= 2 * ALPHA * CHECK.n_tested + 3


def test_the_words_of_the_calibration_in_another_order_of_magnitude() -> None:
    assert CHECK.difference(" ".join(QUESTIONS[:50]))  # all its words are there


def test_the_limit_is_proved() -> None:
    for n in (149, 200, 400, 1000):
        k = _allowed(n)
        tail = [sum(math.comb(n, i) * ALPHA**i * (1 - ALPHA) ** (n - i) for i in range(j + 1)) for j in (k, k + 1)]
        assert tail[0] <= DELTA < tail[1]


def test_too_few_questions_have_no_check() -> None:
    assert fit_input_check(QUESTIONS[: LEAST - 1]) is None
    assert fit_input_check(QUESTIONS[:10] * LEAST) is None  # repeats are no further questions
    assert fit_input_check(random.Random(1).sample(QUESTIONS[:700], 700)) == CHECK  # the order decides nothing


def test_it_comes_back_from_its_file_without_a_text() -> None:
    policy = Policy(answer_at=0.8, conditions=Conditions(inputs=CHECK))
    text = json.dumps(policy.to_json())
    assert Policy.from_json(json.loads(text)) == policy
    assert len(text) < 70_000 and "year" not in text
    row = json.loads(text)["conditions"]
    for name, value in {"words": "AA==", "sketches": [], "spreads": [1.0], "limit": None, "n_alarms": -1}.items():
        with pytest.raises(ConfigError, match="conditions.inputs"):
            Conditions.from_json({**row, "inputs": {**row["inputs"], name: value}})


def test_what_is_unlike_is_escalated_with_its_reason() -> None:
    decision = decide(parse_answers(TEXT, 2, confidence=True), Policy(answer_at=0.8))
    assert screened(decision, CHECK, QUESTIONS[0]) is decision is screened(decision, None, "asdf")
    other = screened(decision, CHECK, "asdf")
    assert (other.kind, other.answers, other.ranked) == (DecisionKind.ESCALATE, (), decision.ranked)
    assert other.reason.startswith("The question is unlike those") and other.reason.endswith("so a person takes over.")
    assert screened(decision, replace(CHECK, limit=1e9), "asdf").kind is not DecisionKind.ESCALATE
