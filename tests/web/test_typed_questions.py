"""POST /v1/systemone: typed choice questions by the public contract, and what the policy allows of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.policy import Policy
from polymode.policy.deciding import equality
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.typed_questions import choose

from .conftest import Model, Start

URL = "/v1/systemone"
SAME = equality("text")
PAIR = "<answer1>Billing</answer1><confidence1>0.6</confidence1><answer2>bugs</answer2><confidence2>0.2</confidence2>"
QUEUE = {
    "type": "choice",
    "instructions": "Which queue?",
    "criteria": {"billing": "payments, invoices", "bugs": None, "sales": ""},
}
BODY: dict[str, Any] = {"model": "jev-latest", "state": "I was charged twice.", "questions": {"queue": QUEUE}}
OPEN = {"policy": Policy(answer_at=0.5, k=2)}


@pytest.mark.parametrize(
    ("candidates", "probabilities", "confidence"),
    [
        # The rest, 1 - .6 - .2, is of the option that is not named; (3 * .6 - 1) / 2.
        ([("Billing", 0.6), ("bugs", 0.2)], [0.6, 0.2, 0.2], 0.4),
        ([("bugs", 0.9), ("gout", 0.8)], [0.05, 0.9, 0.05], 0.85),  # what is no option adds nothing
        ([("billing", 0.9), ("sales", 0.6)], [0.6, 0.0, 0.4], 0.4),  # more than 1 leaves nothing
        ([("billing", 0.3), ("bugs", 0.2), ("sales", 0.1)], [0.5, 1 / 3, 1 / 6], 0.25),
        ([], [1 / 3] * 3, 0.0),
        ([("billing", 0.0), ("bugs", 0.0), ("sales", 0.0)], [1 / 3] * 3, 0.0),
    ],
)
def test_probabilities_of_options(
    candidates: list[tuple[str, float]], probabilities: list[float], confidence: float
) -> None:
    answer = choose(["billing", "bugs", "sales"], candidates, SAME)
    assert list(answer.probabilities.values()) == pytest.approx(probabilities, abs=1e-6)
    assert answer.confidence == pytest.approx(confidence, abs=1e-6)
    assert answer.probabilities[answer.choice] == max(answer.probabilities.values())


@given(
    st.integers(1, 8),
    st.lists(
        st.tuples(st.sampled_from([str(i) for i in range(12)]), st.floats(0, 1)), max_size=10, unique_by=lambda x: x[0]
    ),
)
def test_they_are_a_distribution_that_keeps_the_order_of_what_is_named(n: int, candidates: list) -> None:
    options = [str(i) for i in range(n)]
    answer = choose(options, candidates, SAME)
    assert list(answer.probabilities) == options
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert 0 <= answer.confidence <= 1 and (n > 1 or answer.confidence == 1)
    named = sorted((q, answer.probabilities[text]) for text, q in candidates if text in options)
    assert [p for _, p in named] == sorted(p for _, p in named)


def test_equal_options_share_no_confidence() -> None:
    answer = choose(["Bugs", "bugs", "sales"], [("bugs", 0.7), ("BUGS", 0.1)], SAME)
    assert answer.probabilities == {"Bugs": 0.1, "bugs": 0.7, "sales": 0.2}


def test_a_request_of_the_contract_gets_its_reply(start: Start) -> None:
    model = Model(PAIR)
    state = {"message": "charged twice", "channel": "mail"}
    questions = {"queue": QUEUE, "who": {"type": "choice", "criteria": {"a person": None}}}
    body = start(OPEN, generator=model).post(URL, json={"state": state, "questions": questions}).json()
    assert body == {
        "model": "clinic",
        "answers": {
            "queue": {
                "type": "choice",
                "choice": "billing",
                "probabilities": {"billing": 0.6, "bugs": 0.2, "sales": 0.2},
                "confidence": 0.4,
            },
            "who": {"type": "choice", "choice": "a person", "probabilities": {"a person": 1.0}, "confidence": 1.0},
        },
        "usage": {"input_tokens": None, "output_tokens": 2 * len(PAIR.split(" "))},
    }
    prompts = sorted(prompt for call in model.calls for prompt in call)
    assert prompts[1] == (
        '{"message": "charged twice", "channel": "mail"}\n\nWhich queue?\n\nAnswer with these options only:\n'
        "- billing: payments, invoices\n- bugs\n- sales\nGive 2 answers with confidence\n"
    )


def test_what_the_policy_withholds_is_for_those_who_review(start: Start) -> None:
    owners = {
        hash_of(name): Caller(name, frozenset(scopes)) for name, scopes in (("a", ["ask"]), ("r", ["ask", "review"]))
    }
    client = start({"policy": Policy(answer_at=0.9, k=2)}, generator=Model(PAIR), keys=Keys(owners))

    def answer(key: str) -> dict[str, Any]:
        reply = client.post(URL, json=BODY, headers={"authorization": f"Bearer {key}"})
        return reply.json()["answers"]["queue"]

    assert answer("r")["probabilities"]["billing"] == 0.6
    withheld = answer("a")
    assert withheld["confidence"] == 0 and set(withheld["probabilities"].values()) == {0.333333}
    assert client.post(URL, json=BODY).status_code == 401


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"questions": {}}, "questions"),
        ({"questions": {"q": {"type": "noul", "instructions": "Is it?"}}}, "questions.q.type"),
        ({"questions": {"q": {"type": "choice", "criteria": {}}}}, "questions.q.criteria"),
        ({"questions": {"q": {"type": "choice", "criteria": {" ": None}}}}, "questions.q.criteria"),
        (
            {"questions": {"q": {"type": "choice", "criteria": {str(i): None for i in range(256)}}}},
            "questions.q.criteria",
        ),
        ({"questions": {str(i): QUEUE for i in range(17)}}, "questions"),
        ({"state": "x" * 16_001}, "questions.queue"),
        ({"state": 7}, "state"),
        ({"stream": True}, "stream"),
    ],
)
def test_what_is_refused_names_the_field(start: Start, change: dict[str, Any], field: str) -> None:
    reply = start(OPEN).post(URL, json=BODY | change)
    assert reply.status_code == 422 and reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["field"].startswith(field) and reply.json()["fix"]


def test_questions_have_the_class_that_the_policy_needs(start: Start) -> None:
    by_risk = start(
        {"policy": Policy(k=2, by="risk", groups={"urgent": Policy(answer_at=0.5, k=2)})}, generator=Model(PAIR)
    )
    assert by_risk.post(URL, json=BODY).json()["field"] == "risk"
    assert by_risk.post(URL, json={**BODY, "risk": "urgent"}).json()["answers"]["queue"]["confidence"] == 0.4
    groups = {"surgery": Policy(answer_at=0.5, k=2)}
    by_ward = start({"policy": Policy(k=2, by="ward", groups=groups)}, generator=Model(PAIR))
    assert by_ward.post(URL, json=BODY).json()["field"] == "meta.ward"
    assert by_ward.post(URL, json={**BODY, "meta": {"ward": "surgery"}}).status_code == 200


def test_a_model_that_fails_fails_the_request(start: Start, model: Model) -> None:
    model.fault = lambda prompts: RuntimeError("out of order")
    assert start(OPEN).post(URL, json=BODY).status_code == 503
