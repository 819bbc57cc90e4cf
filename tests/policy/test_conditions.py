"""What a policy was fitted on: statistics of questions, differences, and which guarantee may be claimed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.policy import Conditions, Guarantee, Policy, QuestionStatistics
from polymode.policy.claims import claim
from polymode.types import DecisionKind

FITTED = Conditions(
    model="m",
    fingerprint="ab",
    task="clinic",
    style="full",
    prompts=("{question}?",),
    chat={"system": ""},
    k=2,
    temperature=1.0,
    max_tokens=64,
    verifier={"name": "text", "options": {}},
    questions=QuestionStatistics(3, (4, 6, 9), ("LATIN",)),
)
PROMISE = Guarantee("answer", "Promised.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 100, 60, 2)


def test_what_questions_have_in_common() -> None:
    assert QuestionStatistics.of([" ab ", "abcd é", "Жук", ""]) == QuestionStatistics(
        3, (2, 3, 6), ("CYRILLIC", "LATIN")
    )
    assert QuestionStatistics.of(["", " "]) is None
    seen = FITTED.questions
    assert seen is not None and seen.difference("fever?") == "" == seen.difference("  12345 ")
    assert seen.difference("ab") == "the question has 2 characters, those of the calibration 4 to 9"
    assert (
        seen.difference("熱があります") == "the question is written in CJK, HIRAGANA, those of the calibration are not"
    )


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_no_calibration_question_is_unlike_the_others(texts: list[str]) -> None:
    statistics = QuestionStatistics.of(texts)
    assert statistics is None or not any(statistics.difference(text) for text in texts if text.strip())


def test_conditions_come_back_from_their_file() -> None:
    policy = Policy(answer_at=0.8, k=2, conditions=FITTED).with_guarantees(PROMISE)
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.digest() == replace(policy, conditions=None).digest()  # they are no rules


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"modell": "m"}, "conditions: unknown field 'modell'"),
        ({"model": 3}, "conditions.model = 3 is not allowed: give a text"),
        ({"prompts": "?"}, "conditions.prompts: a list is needed"),
        ({"prompts": [1]}, "conditions.prompts: a list of texts is needed"),
        ({"chat": []}, ""),
        ({"sampling": "x"}, "conditions.sampling = 'x' is not allowed: give an object"),
        ({"temperature": -1}, "conditions.temperature = -1 is not allowed"),
        ({"max_tokens": 0.5}, "conditions.max_tokens = 0.5 is not allowed"),
        ({"k": 0}, "k = 0 is not allowed"),
        ({"questions": {"n": 1}}, "conditions.questions: characters is missing"),
        ({"questions": {"n": 1, "characters": [1], "scripts": []}}, "least, median and largest length are needed"),
        ({"questions": {"n": 1, "characters": [1, 2, 3], "scripts": [4]}}, "scripts: a list of texts is needed"),
        ([], "conditions: a JSON object is needed, got list"),
    ],
)
def test_conditions_that_are_none_are_refused(row: object, said: str) -> None:
    if not said:
        assert Conditions.from_json(row) == Conditions(chat=[])  # type: ignore[arg-type]  # empty: not known
        return
    with pytest.raises(ConfigError) as caught:
        Conditions.from_json(row)
    assert said in str(caught.value)


def test_the_seed_of_a_question_depends_on_what_decides_its_answer() -> None:
    own = FITTED.seed_for("Fever?")
    assert own == FITTED.seed_for(" fever? ") == replace(FITTED, task="x", max_tokens=9, pool=3).seed_for("Fever?")
    assert own == replace(FITTED, temperature=1).seed_for("Fever?") == replace(FITTED, model="copy").seed_for("Fever?")
    changes = {"fingerprint": "cd", "prompts": ("?",), "chat": {"system": "x"}, "k": 3, "temperature": 0.5}
    others = [replace(FITTED, **{name: value}).seed_for("Fever?") for name, value in changes.items()]
    others += [FITTED.seed_for("Cough?"), FITTED.seed_for("Fever?", 1)]
    others += [replace(FITTED, sampling={"top_k": 5}).seed_for("Fever?")]
    assert len({own, *others}) == 1 + len(others)


def test_what_is_not_known_differs() -> None:
    assert FITTED.differences(FITTED) == ()
    assert FITTED.differences(replace(FITTED, verifier=None, questions=None)) == ()  # nothing is judged in service
    assert FITTED.differences(None) == ("it is not known how the model is run here",)
    assert Conditions().differences(FITTED)[0] == "the model of the calibration is not recorded"
    unknown = replace(FITTED, temperature=None)
    assert unknown.differences(FITTED) == ("the temperature of the calibration is not recorded",)
    assert FITTED.differences(unknown) == ("the temperature is None instead of 1",)
    assert FITTED.differences(replace(FITTED, pool=5)) == ("the number of pooled completions is 5 instead of 1",)
    assert FITTED.differences(replace(FITTED, model="a copy")) == ()  # the same files under another name
    server = replace(FITTED, fingerprint="", model="m at http://a")
    assert server.differences(replace(server, model="m at http://b")) == (
        "the model is m at http://b instead of m at http://a",
    )


def test_a_guarantee_is_claimed_only_for_what_it_was_fitted_on() -> None:
    policy = Policy(answer_at=0.8, k=2, conditions=FITTED).with_guarantees(PROMISE)
    answer, question = DecisionKind.ANSWER, "fever?"
    assert claim(policy, answer, question, served=FITTED) == ("Promised.", None)
    assert claim(policy, DecisionKind.ESCALATE, question, served=FITTED) == (None, None)
    assert claim(policy, DecisionKind.OFFER_SET, question, served=FITTED).reason == (
        "the policy guarantees nothing about such decisions"
    )
    assert claim(policy, answer, "fever? " * 3, served=FITTED).guarantee is None
    silent = replace(policy, conditions=replace(FITTED, questions=None))
    assert claim(silent, answer, question, served=FITTED).reason == (
        "the questions of the calibration are not recorded"
    )
    assert claim(replace(policy, conditions=None), answer, question, served=FITTED).reason == (
        "the policy does not record what it was calibrated on"
    )
