"""The page that asks: what it shows of each kind of decision, what it says when nothing is answered."""

import math

import pytest

from polymode.errors import GeneratorFault
from polymode.policy import Policy
from polymode.web.pages.ask_page import dispersion, grouped
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue
from polymode.web.schema import AnswerItem, AnswerSetReply, Usage

from ..conftest import POLICY, SURE, Model, Start
from .conftest import Visit, shown_text

THREE = (
    "<think> headache : migraine ; headache : tension headache ; tremor : panic attack </think>"
    "<answer1>panic attack</answer1><confidence1>0.4</confidence1>"
    "<answer2>migraine</answer2><confidence2>0.3</confidence2>"
    "<answer3>tension headache</answer3><confidence3>0.1</confidence3>"
)
MALFORMED = "<answer1>flu</answer1><confidence1>eighty</confidence1>"
OPEN = {"settings": {"policy": Policy(answer_at=0.8, offer_at=0.7), "k": 3}}


def test_one_answer(visit: Visit, model: Model) -> None:
    visitor = visit()
    reply = visitor.post("/", {"question": "Headache, tremor, dizziness?", "risk": "normal"})
    said = shown_text(reply.text)
    assert reply.status_code == 200
    reason = "The most confident answer has a confidence of 0.85, at least"
    assert said.index("One answer") < said.index("Headache, tremor") < said.index(reason)
    assert "Supported by: tremor, dizziness 1. panic attack 0.85" in said
    assert "Supported by: Headache 2. migraine withheld 0.40" in said
    assert "effective number of answers 1.87 of 2; entropy 0.63 nats" in said
    assert f"Model clinic Policy {POLICY.digest()}" in said
    assert "Model output " + SURE in said
    assert model.calls == [["Headache, tremor, dizziness?\nGive 2 answers with confidence\n"]]


def test_a_set_grouped_by_what_speaks_for_it(visit: Visit, model: Model) -> None:
    model.scripted = Model(THREE).scripted
    said = shown_text(visit(**OPEN).post("/", {"question": "tremor and headache", "k": "3"}).text)
    assert "A set to choose from" in said
    assert "Supported by: tremor 1. panic attack 0.40 Supported by: headache 2. migraine 0.30 3. tension" in said
    assert "tension headache withheld 0.10" in said and "panic attack withheld" not in said


def test_what_the_question_does_not_hold_is_not_shown(visit: Visit) -> None:
    said = shown_text(visit().post("/", {"question": "dizziness; no tremor", "risk": "normal"}).text)
    assert "Supported by: dizziness 1. panic attack 0.85 Nothing of the question is quoted for these 2. mig" in said


def test_nothing_is_let_through(visit: Visit, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue), escalations=queue)
    reply = visitor.post("/", {"question": "q", "risk": "high"})
    assert "A set to choose from" in shown_text(reply.text) and "high risk" in reply.text
    low = visit(PageOptions(reviews=queue), escalations=queue, settings={"policy": Policy(answer_at=0.9, k=2)})
    reply = low.get(low.post("/", {"question": "q"}).headers["location"])
    said = shown_text(reply.text)
    assert "A person decides" in said and "The policy releases none of these answers" in said
    [item] = queue.items()
    assert f'<a href="/reviews/{item.id}">review item {item.id}</a>' in reply.text
    assert "1. panic attack 0.85" in said and "withheld" not in said
    alone = visit(settings={"policy": Policy(answer_at=0.9, k=2)}).post("/", {"question": "q"})
    assert "This server has no review queue, so nobody is notified." in shown_text(alone.text)


def test_malformed_output_is_shown_as_such(visit: Visit, model: Model) -> None:
    model.scripted = Model(MALFORMED).scripted
    said = shown_text(visit().post("/", {"question": "q"}).text)
    assert "malformed output" in said and "The completion cannot be used: slot 1" in said
    assert "Candidates by rank" not in said and "Dispersion undefined: there are no usable answers" in said
    assert "Model output " + MALFORMED in said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "a value is not allowed (question; allowed: the question, a text of 1 to 16,000 characters"),
        ({"question": " \n"}, "a value is not allowed (question;"),
        ({"question": "x" * 16_001}, "a value is not allowed (question;"),
        ({"question": "q", "k": "many"}, "a value is not allowed (k;"),
        ({"question": "q", "k": "21"}, "a value is not allowed (k;"),
        ({"question": "q", "k": "9" * 5000}, "a value is not allowed (k;"),
        ({"question": "q", "k": "3"}, "k does not suit the policy (k; allowed: 2, which the policy was"),
        ({"question": "q", "risk": "odd"}, "risk = 'odd' is not known (risk;"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_explained_and_kept(
    visit: Visit, model: Model, fields: dict[str, str], said: str
) -> None:
    reply = visit().post("/", fields)
    assert reply.status_code == 422 and said in shown_text(reply.text)
    if fields.get("question", "").strip():
        assert f">\n{fields['question']}</textarea>" in reply.text
    assert model.calls == []


def test_a_model_that_is_down_is_said_to_be_and_found_again(visit: Visit, model: Model) -> None:
    visitor = visit()
    model.fault = lambda prompts: GeneratorFault("server behind: Connection refused")
    reply = visitor.post("/", {"question": "Fever?"})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    said = shown_text(reply.text)
    assert "the model cannot answer now: server behind: Connection refused What to do: ask again later." in said
    assert ">\nFever?</textarea>" in reply.text
    model.fault = lambda prompts: None
    assert visitor.post("/", {"question": "Fever?"}).status_code == 200


def test_a_model_that_is_slow_is_said_to_be(visit: Visit, model: Model) -> None:
    visitor = visit(settings={"seconds": 0.2})
    model.gate.clear()
    reply = visitor.post("/", {"question": "Fever?"})
    assert reply.status_code == 504 and "no completion within 0.2 s" in shown_text(reply.text)
    model.gate.set()


def test_the_start_page_tells_the_k_of_the_policy(visit: Visit) -> None:
    assert "2 answers: the policy was calibrated for this number" in shown_text(visit().get("/").text)
    free = visit(**OPEN).get("/").text
    assert 'name="k" type="number" min="1" max="20" value="3"' in free


def item(text: str, confidence: float, rationale: str | None = None) -> AnswerItem:
    return AnswerItem(text=text, confidence=confidence, rationale=rationale)


def test_groups_stand_in_the_order_of_their_best_and_those_without_a_reason_last() -> None:
    candidates = [item("a", 0.4), item("b", 0.3, "x"), item("c", 0.2), item("d", 0.1, "y"), item("e", 0.05, "x")]
    reply = AnswerSetReply.model_construct(candidates=candidates, answers=candidates[:2], usage=Usage.model_construct())
    groups = [(rationale, [(rank, one.text) for rank, one in members]) for rationale, members in grouped(reply)]
    assert groups == [("x", [(2, "b"), (5, "e")]), ("y", [(4, "d")]), (None, [(1, "a"), (3, "c")])]


def test_dispersion_is_undefined_without_confidence() -> None:
    assert dispersion([item("a", 0.3), item("b", 0.3)]) == pytest.approx((2.0, math.log(2)))
    assert dispersion([item("a", 0.3)]) == (1.0, 0.0)
    assert all(math.isnan(value) for value in (*dispersion([item("a", 0.0)]), *dispersion([])))


def test_pages_can_be_left_out(start: Start) -> None:
    reply = start().get("/")
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")


def test_the_classes_of_the_policy_can_be_chosen(visit: Visit) -> None:
    by_risk = Policy(by="risk", groups={"low": Policy(answer_at=0.8, k=2), "red flag": Policy(k=2)}, k=2)
    visitor = visit(settings={"policy": by_risk})
    assert 'value="red flag"' in (page := visitor.get("/").text) and 'value="normal"' not in page
    assert "red flag risk" in shown_text(visitor.post("/", {"question": "Fever?", "risk": "red flag"}).text)
    assert "One answer" in shown_text(visitor.post("/", {"question": "Fever?", "risk": "low"}).text)
    by_ward = Policy(by="ward", groups={"3": Policy(answer_at=0.8, k=2), "4": Policy(k=2)}, k=2)
    visitor = visit(settings={"policy": by_ward})
    assert "<option>4</option>" in visitor.get("/").text
    assert "One answer" in shown_text(visitor.post("/", {"question": "Fever?", "group": "3"}).text)
    assert "One answer" not in shown_text(visitor.post("/", {"question": "Fever?", "group": "4"}).text)
