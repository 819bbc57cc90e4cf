"""POST /v1/answer-sets and what operators look at: contracts, decisions, failures, concurrency."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from polymode.errors import GeneratorFault, PromptRefusedError, ReviewStoreError
from polymode.generate import Generated
from polymode.generate.scripted import ScriptedGenerator
from polymode.policy import Guarantee, Policy, QuestionStatistics
from polymode.policy.inputs import fit_input_check
from polymode.tasks.lab.clinic import Clinic
from polymode.types import AnswerSet, Decision
from polymode.web.app import create_app
from polymode.web.pages.site import PageOptions

from .conftest import CONDITIONS, FITTED, POLICY, SURE, Model, Start, serving

URL = "/v1/answer-sets"
UNSURE = "<answer1>flu</answer1><confidence1>0.30</confidence1><answer2>cold</answer2><confidence2>0.10</confidence2>"
PAIR = "<answer1>flu</answer1><confidence1>0.30</confidence1><answer2>cold</answer2><confidence2>0.30</confidence2>"


def fault_of(reply: Any, status: int) -> dict[str, Any]:
    """The problem in a reply, after checking its form."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert "\n" not in reply.text and reply.text.isascii()
    problem = reply.json()
    assert set(problem) == {"title", "status", "field", "value", "allowed", "fix", "request_id"}
    assert problem["status"] == status and problem["title"] and problem["fix"]
    assert problem["request_id"] == reply.headers["x-request-id"]
    return problem


# --- the reply -------------------------------------------------------------------------------------------------------


def test_a_sure_answer_is_given_with_confidence_rationale_and_reason(start: Start, model: Model) -> None:
    reply = start().post(URL, json={"question": "A 31 year old man has headache, tremor, dizziness"})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    body = reply.json()
    first = {"text": "panic attack", "confidence": 0.85, "rationale": "tremor, dizziness"}
    assert body == {
        "decision": "answer",
        "reason": "The most confident answer has a confidence of 0.85, at least the 0.8 required for a single answer.",
        "answers": [first],
        "candidates": [first, {"text": "migraine", "confidence": 0.4, "rationale": "headache"}],
        "confidence_meaning": "the probability that the answer is correct",
        "guarantee": None,
        "no_guarantee": None,
        "escalation_id": None,
        "k": 2,
        "pool": 1,
        "risk": "normal",
        "completion_status": "clean",
        "model_id": "clinic",
        "policy_id": POLICY.digest(),
        "usage": {"prompt_tokens": None, "completion_tokens": len(SURE.split(" "))},
        "request_id": reply.headers["x-request-id"],
    }
    assert model.calls == [["A 31 year old man has headache, tremor, dizziness\nGive 2 answers with confidence\n"]]
    assert model.settings[0]["max_tokens"] == 1536 and model.settings[0]["temperature"] == 1.0


@pytest.mark.parametrize(
    ("text", "decision", "shown", "considered", "status"),
    [
        (PAIR, "offer_set", ["flu", "cold"], ["flu", "cold"], "clean"),
        (UNSURE, "escalate", [], ["flu", "cold"], "clean"),
        ("I do not know.", "escalate", [], [], "malformed"),
    ],
)
def test_what_may_be_shown_is_told_apart_from_what_was_considered(
    start: Start, text: str, decision: str, shown: list[str], considered: list[str], status: str
) -> None:
    body = start(generator=Model(text)).post(URL, json={"question": "Fever?"}).json()
    assert (body["decision"], body["completion_status"]) == (decision, status)
    assert [answer["text"] for answer in body["answers"]] == shown
    assert [answer["text"] for answer in body["candidates"]] == considered


def test_a_completion_that_was_cut_off_is_not_used(start: Start) -> None:
    body = start({"max_tokens": 3}).post(URL, json={"question": "Fever?"}).json()
    assert (body["completion_status"], body["usage"]["completion_tokens"]) == ("truncated", 3)


def test_risk_high_never_gives_a_single_answer(start: Start) -> None:
    body = start().post(URL, json={"question": "Fever?", "risk": "high", "k": 2}).json()
    assert (body["decision"], body["risk"]) == ("offer_set", "high")
    assert body["reason"].endswith("the risk is high, so no single answer is given.")


def test_another_k_is_asked_for_where_the_policy_allows_it(start: Start, model: Model) -> None:
    body = start({"policy": Policy(answer_at=0.5)}).post(URL, json={"question": "Fever?", "k": 1}).json()
    assert (body["k"], body["decision"]) == (1, "escalate")  # the scripted completion has two answers
    assert model.calls[0][0].endswith("Give 1 answer with confidence\n")


def test_the_same_question_has_the_same_seed_whatever_is_asked_beside_it(start: Start, model: Model) -> None:
    client = start({"policy": Policy(answer_at=0.5)}, size=1)

    def seed(**request: object) -> int:
        assert client.post(URL, json={"question": "Fever?", **request}).status_code == 200
        [own] = model.settings[-1]["seed"]
        return own

    own = seed()
    assert 0 <= own < 2**31 - 64
    assert seed(question="Cough?") != own == seed() == seed(question=" fever?\n")
    assert seed(risk="high") == own  # of another decision about the same answers
    others = [seed(seed=1), seed(seed=2), seed(k=1)]
    assert len({own, *others}) == 4 and seed(seed=1) == others[0]
    other_model = start({"policy": Policy(answer_at=0.5), "conditions": replace(CONDITIONS, fingerprint="ff")})
    assert other_model.post(URL, json={"question": "Fever?"}).status_code == 200
    assert model.settings[-1]["seed"] != [own]


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "1", True])
def test_a_seed_that_is_none_is_refused(start: Start, seed: object) -> None:
    assert fault_of(start().post(URL, json={"question": "Fever?", "seed": seed}), 422)["field"] == "seed"


def test_several_completions_are_pooled_into_one_set(start: Start) -> None:
    model = Model(PAIR, "I do not know.", UNSURE)
    settings = {"pool": 3, "meaning": "is the cause", "policy": Policy(offer_at=0.3, k=2)}
    body = start(settings, generator=model).post(URL, json={"question": "Fever?"}).json()
    assert model.settings[0]["n"] == 3
    assert [(one["text"], one["confidence"]) for one in body["candidates"]] == [
        ("flu", pytest.approx(0.6 / 3)),
        ("cold", pytest.approx(0.4 / 3)),
    ]
    assert (body["pool"], body["decision"], body["completion_status"]) == (3, "offer_set", "clean")
    assert body["confidence_meaning"] == "the probability that the answer is the cause"
    assert body["usage"]["completion_tokens"] == len(f"{PAIR} I do not know. {UNSURE}".split(" "))


def test_a_question_unlike_those_of_the_calibration_goes_to_a_person(start: Start) -> None:
    questions = [example.question for example in Clinic().examples("validation", 500)]
    fitted = replace(FITTED, questions=QuestionStatistics.of(questions), inputs=fit_input_check(questions))
    policy = replace(POLICY, conditions=fitted).with_guarantees(PROMISE)

    def reply(question: str, **settings: object) -> dict[str, Any]:
        return start({"policy": policy, **settings}).post(URL, json={"question": question}).json()

    assert reply(questions[0])["guarantee"] == PROMISE.statement
    body = reply("What is the capital of France?")
    assert (body["decision"], body["answers"], body["guarantee"]) == ("escalate", [], None)
    assert body["reason"].startswith("The question is unlike those of the calibration") and body["candidates"]
    off = reply("What is the capital of France?", input_check=False)
    assert (off["decision"], off["guarantee"]) == ("answer", None) and off["no_guarantee"]


def test_a_guarantee_belongs_to_its_number_of_pooled_completions(start: Start) -> None:
    assert claimed(start({"policy": PROMISED, "pool": 2}))[1] == "the number of pooled completions is 2 instead of 1"
    pooled = replace(POLICY, conditions=replace(FITTED, pool=2)).with_guarantees(PROMISE)
    assert claimed(start({"policy": pooled, "pool": 2}))[0] == "Of those, at most 1 in 10."


PROMISE = Guarantee("answer", "Of those, at most 1 in 10.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 50, 40, 1)
PROMISED = replace(POLICY, conditions=FITTED).with_guarantees(PROMISE)


def claimed(client: TestClient, **request: object) -> tuple[str | None, str | None]:
    body = client.post(URL, json={"question": "Fever?", **request}).json()
    return body["guarantee"], body["no_guarantee"]


def test_a_guarantee_is_claimed_for_its_decision_and_normal_risk_only(start: Start) -> None:
    client = start({"policy": PROMISED})
    assert claimed(client) == ("Of those, at most 1 in 10.", None)
    assert claimed(client, risk="high") == (None, "the policy guarantees nothing about such decisions")
    assert claimed(start()) == (None, None)  # a policy made by hand


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "ff"}, "the model is clinic (ff) instead of clinic (0123456789abcdef)"),
        ({"task": "hops"}, "the task is hops instead of clinic"),
        ({"style": "full", "prompts": ("?",)}, "the prompt style is full instead of brief; the prompt's text is anoth"),
        ({"chat": {"system": "Be brief."}}, "the system prompt, examples or chat template is another"),
        ({"temperature": 0.7, "max_tokens": 64}, ""),  # those of the server count
        ({"sampling": {"top_k": 5}}, "the sampling is {'top_k': 5} instead of {}"),
    ],
)
def test_a_guarantee_is_dropped_where_something_differs(start: Start, change: dict, said: str) -> None:
    guarantee, reason = claimed(start({"policy": PROMISED, "conditions": replace(CONDITIONS, **change)}))
    assert (guarantee is None) == bool(said) and said in (reason or "")


def test_a_guarantee_is_dropped_for_other_settings_questions_and_unknown_origin(start: Start) -> None:
    assert claimed(start({"policy": PROMISED, "temperature": 0.5}))[1] == "the temperature is 0.5 instead of 1"
    assert claimed(start({"policy": PROMISED, "max_tokens": 99}))[1] == "the token limit is 99 instead of 1536"
    assert claimed(start({"policy": PROMISED, "conditions": None}))[1] == "it is not known how the model is run here"
    older = replace(PROMISED, conditions=None)
    assert claimed(start({"policy": older}))[1] == "the policy does not record what it was calibrated on"
    client = start({"policy": PROMISED})
    assert claimed(client, question="Fever? " * 9)[1] == (
        "the question has 62 characters, those of the calibration 1 to 40"
    )
    assert claimed(client, question="Лихорадка?")[1] == (
        "the question is written in CYRILLIC, those of the calibration are not"
    )


def test_classes_of_risk_have_rules_and_guarantees_of_their_own(start: Start, model: Model) -> None:
    low = Policy(answer_at=0.8, k=2).with_guarantees(PROMISE)
    groups = {"low": low, "red flag": Policy(offer_at=1.2, k=2), "high": Policy(offer_at=0.5, k=2)}
    client = start({"policy": Policy(k=2, by="risk", groups=groups, conditions=FITTED)})
    assert claimed(client, risk="low") == ("Of those, at most 1 in 10.", None)
    decisions = [client.post(URL, json={"question": "q", "risk": risk}).json()["decision"] for risk in groups]
    assert decisions == ["answer", "offer_set", "offer_set"]
    n_asked = len(model.calls)
    problem = client.post(URL, json={"question": "q"})
    assert problem.status_code == 422 and problem.json()["allowed"] == "'low', 'red flag', 'high'"
    assert (problem.json()["field"], problem.json()["value"]) == ("risk", "normal")
    assert len(model.calls) == n_asked  # refused before the model is asked


def test_a_policy_may_tell_questions_apart_by_another_field(start: Start) -> None:
    groups = {"cardiology": Policy(answer_at=0.8, k=2).with_guarantees(PROMISE), "3": Policy(k=2)}
    client = start({"policy": Policy(k=2, by="department", groups=groups, conditions=FITTED)})
    assert claimed(client, meta={"department": "cardiology"})[0] == "Of those, at most 1 in 10."
    reply = client.post(URL, json={"question": "q", "meta": {"department": "3"}})
    assert reply.json()["decision"] == "escalate"
    for meta in ({}, {"department": "surgery"}):
        problem = client.post(URL, json={"question": "q", "meta": meta})
        assert problem.status_code == 422 and problem.json()["field"] == "meta.department"


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "field", "value", "allowed", "fix"),
    [
        ({}, "question", None, "the question, a text of 1 to 16,000 characters, not blank", "add it"),
        ({"question": " \n"}, "question", " \n", "the question, a text", "change it: string should match"),
        ({"question": 3}, "question", 3, "the question, a text", "change it: input should be a valid string"),
        ({"question": "x" * 16_001}, "question", "x" * 100 + "...", "the question, a text", "at most 16000 characters"),
        ({"question": "q", "k": 0}, "k", 0, "a whole number from 1 to 20", "greater than or equal to 1"),
        ({"question": "q", "k": 2.5}, "k", 2.5, "a whole number from 1 to 20", "change it"),
        ({"question": "q", "k": True}, "k", True, "a whole number from 1 to 20", "change it"),
        ({"question": "q", "k": 3}, "k", 3, "2, which the policy was calibrated with", "leave k out"),
        ({"question": "q", "risk": "low"}, "risk", "low", "'normal', 'high'", "name one of these, or calibrate with"),
        ({"question": "q", "risk": " "}, "risk", " ", "risk of the question: a class of the policy", "change it"),
        ({"question": "q", "meta": {"a": []}}, "meta.a", "[]", "an object with the field by which", "change it"),
        ({"question": "q", "temprature": 0}, "temprature", 0, "one of question, k, risk", "leave it out"),
        ({"question": "q", "body": 1}, "body", 1, "one of question, k, risk", "leave it out"),
        ([], "body", None, "a JSON object with question, k, risk", "send an object"),
    ],
)
def test_a_problem_names_field_value_what_is_allowed_and_the_fix(
    start: Start, model: Model, sent: Any, field: str, value: Any, allowed: str, fix: str
) -> None:
    problem = fault_of(start().post(URL, json=sent), 422)
    assert (problem["field"], problem["value"]) == (field, value)
    assert allowed in problem["allowed"] and fix in problem["fix"]
    assert model.calls == []


@pytest.mark.parametrize(
    "content", [b"{", b'{"question": "q"', b"\xff\xfe", b"[" * 50_000, b'{"k": ' + b"9" * 9999 + b"}"]
)
def test_what_is_no_json_is_said_to_be_none(start: Start, content: bytes) -> None:
    reply = start().post(URL, content=content, headers={"content-type": "application/json"})
    assert fault_of(reply, 400)["fix"] == "send valid JSON"


def test_a_form_from_a_web_page_is_not_read(start: Start, model: Model) -> None:
    # What a page of another origin can send without asking the browser's leave.
    reply = start().post(URL, content=b'{"question": "q"}', headers={"content-type": "text/plain"})
    assert "Content-Type: application/json" in fault_of(reply, 422)["fix"]
    assert model.calls == []


def test_unknown_paths_and_methods(start: Start) -> None:
    client = start()
    assert fault_of(client.get("/answers"), 404)["title"] == "no such path"
    wrong = client.get(URL)
    assert fault_of(wrong, 405)["fix"] == "use POST"
    assert wrong.headers["allow"] == "POST"
    assert client.get("/docs").status_code == 404  # its page would load scripts from elsewhere


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\u2028 \x00"


def test_markup_of_users_and_models_is_inert(start: Start) -> None:
    text = (
        f"<answer1>{HOSTILE}</answer1><confidence1>0.9</confidence1><answer2>b</answer2><confidence2>0.1</confidence2>"
    )
    client = start(generator=Model(text))
    reply = client.post(URL, json={"question": HOSTILE})
    refused = client.post(URL, json={"question": "q", HOSTILE: HOSTILE})
    for raw in (reply.text, refused.text):
        assert raw.isascii() and not set("<>&") & set(raw)
    assert reply.json()["answers"][0]["text"] == HOSTILE.strip()
    assert refused.json()["field"] == refused.json()["value"] == HOSTILE


# --- the model and its queue -----------------------------------------------------------------------------------------


async def many(app: Any, n: int, **body: object) -> list[httpx2.Response]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await asyncio.gather(*(client.post(URL, json={"question": f"q{i}", **body}) for i in range(n)))


def test_concurrent_requests_share_batches(model: Model) -> None:
    replies = asyncio.run(many(create_app(serving(), model, size=8, wait=0.2), 20))
    assert [reply.status_code for reply in replies] == [200] * 20
    assert sum(map(len, model.calls)) == 20
    assert len(model.calls) < 10
    assert len({reply.json()["request_id"] for reply in replies}) == 20


def test_more_than_may_wait_are_told_when_to_come_back(model: Model) -> None:
    model.gate.clear()
    app = create_app(serving(), model, size=1, wait=0.0, room=3)
    threading.Timer(0.5, model.gate.set).start()
    replies = asyncio.run(many(app, 10))
    by_status = {status: [r for r in replies if r.status_code == status] for status in (200, 429)}
    assert len(by_status[200]) + len(by_status[429]) == 10
    assert 3 <= len(by_status[200]) <= 4  # one at the model, three waiting
    for refused in by_status[429]:
        assert int(refused.headers["retry-after"]) >= 1
        assert fault_of(refused, 429)["title"] == "too many requests wait"


def test_a_slow_model_is_given_up_and_its_queue_forgotten(start: Start, model: Model) -> None:
    model.gate.clear()
    client = start({"seconds": 0.2}, size=1, wait=0.0)
    for _ in range(2):
        assert fault_of(client.post(URL, json={"question": "q"}), 504)["title"] == "no completion within 0.2 s"
    model.gate.set()
    assert client.post(URL, json={"question": "again"}).status_code == 200
    assert [prompts[0][0] for prompts in model.calls] == ["q", "a"]  # who had left was not asked for


def test_a_model_that_is_down_is_said_to_be_and_comes_back(start: Start, model: Model) -> None:
    client = start()
    model.fault = lambda _: GeneratorFault("http://there/v1: ConnectionRefusedError")
    for _ in range(2):
        reply = client.post(URL, json={"question": "q"})
        problem = fault_of(reply, 503)
        assert problem["title"] == "the model cannot answer now: http://there/v1: ConnectionRefusedError"
        assert reply.headers["retry-after"] == "2"
    model.fault = lambda _: None
    assert client.post(URL, json={"question": "q"}).status_code == 200


def test_a_prompt_that_the_model_refuses_is_the_clients_affair(start: Start, model: Model) -> None:
    client = start()
    model.fault = lambda _: PromptRefusedError("maximum context length exceeded")
    problem = fault_of(client.post(URL, json={"question": "q"}), 422)
    assert problem["field"] == "question" and "maximum context length" in problem["title"]
    assert client.get("/ready").status_code == 200


def test_a_client_that_leaves_is_taken_out_of_the_queue(model: Model) -> None:
    async def leave() -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            held = asyncio.create_task(client.post(URL, json={"question": "held"}))
            while not model.calls:
                await asyncio.sleep(0.005)
            body = json.dumps({"question": "gone"}).encode()
            messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

            async def receive() -> dict[str, Any]:
                return messages.pop(0)

            sent: list[dict[str, Any]] = []

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            headers = [(b"content-type", b"application/json")]
            scope = {"type": "http", "method": "POST", "path": URL, "headers": headers, "query_string": b""}
            await app(scope, receive, send)
            assert sent[0]["status"] == 499
            model.gate.set()
            assert (await held).status_code == 200

    model.gate.clear()
    app: Any = create_app(serving(), model, size=1, wait=0.0)
    asyncio.run(leave())
    assert [prompts[0].split("\n")[0] for prompts in model.calls] == ["held"]


# --- escalations -----------------------------------------------------------------------------------------------------


class Desk:
    """Takes what must go to a person, unless it is closed."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.is_closed = False

    def add(self, question: str, answer_set: AnswerSet, decision: Decision, **about: Any) -> int:
        if self.is_closed:
            raise ReviewStoreError("the database is locked")
        self.taken.append({"question": question, "answer_set": answer_set, "decision": decision, **about})
        return len(self.taken)


def test_what_a_person_must_answer_reaches_one(start: Start) -> None:
    desk = Desk()
    client = start(generator=Model(UNSURE), escalations=desk)
    body = client.post(URL, json={"question": "Fever?", "risk": "high"}).json()
    assert (body["decision"], body["escalation_id"]) == ("escalate", 1)
    [item] = desk.taken
    assert item["question"] == "Fever?" and item["completion"] == UNSURE and item["request_id"] == body["request_id"]
    assert (item["model_id"], item["policy_id"], item["risk"], item["equality"]) == (
        "clinic",
        POLICY.digest(),
        "high",
        "text",
    )
    assert [answer.text for answer in item["decision"].ranked] == ["flu", "cold"]


def test_what_is_answered_goes_to_nobody_and_a_closed_desk_is_no_escalation(start: Start) -> None:
    desk = Desk()
    assert start(escalations=desk).post(URL, json={"question": "q"}).json()["escalation_id"] is None
    assert desk.taken == []
    desk.is_closed = True
    client = start(generator=Model(UNSURE), escalations=desk)
    problem = fault_of(client.post(URL, json={"question": "q"}), 503)
    assert problem["title"].endswith("the review queue fails: the database is locked")


class Torn(Model):
    """Unsure about hard questions alone."""

    def generate(self, prompts: Sequence[str], **asked: Any) -> list[list[Generated]]:
        text = UNSURE if "hard" in prompts[0] else SURE
        return ScriptedGenerator([text]).generate(prompts, **asked)


class Locked(Desk):
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def add(self, *what: Any, **about: Any) -> int:
        assert self.opened.wait(60)
        return super().add(*what, **about)


def test_a_review_queue_that_waits_holds_up_nobody_else(start: Start) -> None:
    desk = Locked()
    client = start(generator=Torn(), escalations=desk, size=1, room=100)
    ids: list[int] = []

    def ask() -> None:
        ids.append(client.post(URL, json={"question": "hard"}).json()["escalation_id"])

    asking = [threading.Thread(target=ask) for _ in range(40)]  # more than any pool of threads has by default
    for thread in asking:
        thread.start()
    assert client.post(URL, json={"question": "easy"}).json()["decision"] == "answer"
    assert ids == []
    desk.opened.set()
    for thread in asking:
        thread.join(60)
    assert sorted(ids) == list(range(1, 41))


# --- operations ------------------------------------------------------------------------------------------------------


def test_health_looks_at_nothing_and_ready_at_the_model(start: Start, model: Model) -> None:
    client = start()
    model.fault = lambda _: GeneratorFault("down")
    assert client.get("/health").json() == {"status": "ok"}
    not_ready = client.get("/ready")
    assert fault_of(not_ready, 503)["title"] == "the model cannot answer now: down"
    assert not_ready.headers["retry-after"] == "2"
    assert model.settings[0]["max_tokens"] == 1  # one token tells
    assert fault_of(client.get("/ready"), 503) and len(model.calls) == 1  # believed for a while


def test_ready_finds_a_model_that_came_back_without_anybody_asking(
    start: Start, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.web.answer_service.BAD_SECONDS", 0.0)
    client = start()
    model.fault = lambda _: GeneratorFault("down")
    assert client.get("/ready").status_code == 503
    model.fault = lambda _: None
    assert client.get("/ready").json() == {"status": "ready", "model_id": "clinic", "policy_id": POLICY.digest()}
    assert client.get("/ready").status_code == 200
    assert len(model.calls) == 2  # a good verdict is believed for a while too


def test_a_failed_request_makes_the_server_unready(start: Start, model: Model) -> None:
    client = start()
    assert client.get("/ready").status_code == 200
    model.fault = lambda _: GeneratorFault("down")
    client.post(URL, json={"question": "q"})
    assert client.get("/ready").status_code == 503


def value_of(text: str, line: str) -> float:
    [found] = [row for row in text.splitlines() if row.startswith(f"{line} ")]
    return float(found.rsplit(" ", 1)[1])


def test_metrics_count_requests_decisions_batches_and_tokens(start: Start, model: Model) -> None:
    client = start()
    client.post(URL, json={"question": "q"})
    client.post(URL, json={"question": "q", "risk": "high"})
    client.post(URL, json={})
    client.get("/no/such/path")
    model.fault = lambda _: GeneratorFault("down")
    client.post(URL, json={"question": "q"})
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line, value in {
        'polymode_requests_total{key="",path="/v1/answer-sets",status="200"}': 2,
        'polymode_requests_total{key="",path="/v1/answer-sets",status="422"}': 1,
        'polymode_requests_total{key="",path="/v1/answer-sets",status="503"}': 1,
        'polymode_requests_total{key="",path="other",status="404"}': 1,
        'polymode_request_seconds_count{path="/v1/answer-sets"}': 4,
        'polymode_decisions_total{kind="answer",risk="normal"}': 1,
        'polymode_decisions_total{kind="offer_set",risk="high"}': 1,
        'polymode_completions_total{status="clean"}': 2,
        'polymode_tokens_total{kind="completion"}': 2 * len(SURE.split(" ")),
        "polymode_model_faults_total": 1,
        "polymode_queue_length": 0,
        "polymode_batch_size_count": 3,
        "polymode_batch_size_sum": 3,
    }.items():
        assert value_of(reply.text, line) == value, line


def test_every_path_of_the_api_is_counted_by_its_name(start: Start) -> None:
    client = start(pages=PageOptions())
    paths = set(client.get("/openapi.json").json()["paths"]) | {"/openapi.json"}
    posted = {path for path in paths if client.get(path).status_code == 405}
    assert {"/v1/chat/completions", "/v1/systemone"} <= posted
    for path in posted:
        client.post(path, json={})
    counted = client.get("/metrics").text
    assert all(f'{{path="{path}"}}' in counted for path in paths) and 'path="other"' not in counted


def test_questions_and_answers_are_not_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="polymode")
    start().post(URL + "?q=secret", json={"question": "secret"})
    assert "POST /v1/answer-sets 200" in caplog.text
    assert "secret" not in caplog.text and "panic" not in caplog.text


def test_a_bug_is_told_as_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Sequence[str]:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("polymode.web.answer_service.build_prompt", broken)
    reply = start().post(URL, json={"question": "q"})
    assert reply.status_code == 500 and "secret" not in reply.text
    assert reply.json()["title"] == "the server failed"
