"""The OpenAI-compatible form, asked with the `openai` package: an independent idea of that API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import httpx2
import openai
import pytest
from pydantic import BaseModel

from polymode.errors import GeneratorFault
from polymode.generate import Generated
from polymode.policy import Guarantee, Policy
from polymode.web.app import create_app
from polymode.web.gate import Limits
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.schema import AnswerSetReply

from .conftest import FITTED, POLICY, SURE, Model, Start, serving

T = TypeVar("T")
ASK: Any = {"model": "clinic", "messages": [{"role": "user", "content": "Fever?"}]}


def with_client(use: Callable[[openai.AsyncOpenAI], Awaitable[T]], model: Model, key: str = "any", **options: Any) -> T:
    """What ``use`` makes of a client of a server with this model."""

    async def run() -> T:
        transport = httpx2.ASGITransport(create_app(serving(**options.pop("settings", {})), model, **options))
        async with (
            httpx2.AsyncClient(transport=transport) as http,
            openai.AsyncOpenAI(base_url="http://test/v1", api_key=key, http_client=http, max_retries=0) as client,
        ):
            return await use(client)

    return asyncio.run(run())


def test_the_content_is_the_answer_set(model: Model) -> None:
    reply = with_client(lambda client: client.chat.completions.create(**ASK), model)
    assert (reply.object, reply.model, reply.choices[0].finish_reason) == ("chat.completion", "clinic", "stop")
    assert reply.choices[0].message.role == "assistant"
    content = json.loads(reply.choices[0].message.content or "")
    assert content["decision"] == "answer"
    assert content["answers"] == [{"text": "panic attack", "confidence": 0.85, "rationale": None}]  # "Fever?" is all
    assert reply.id == f"chatcmpl-{content['request_id']}"
    assert reply.usage is None  # the scripted model does not count prompts
    assert model.calls == [["Fever?\nGive 2 answers with confidence\n"]]


def test_tokens_are_told_where_they_are_known() -> None:
    class Counts(Model):
        def generate(self, prompts: Any, **_: Any) -> list[list[Generated]]:
            return [[Generated(SURE, 20, True, 7)]]

    usage = with_client(lambda client: client.chat.completions.create(**ASK), Counts()).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 20, 27)


def test_the_model_is_listed(model: Model) -> None:
    async def use(client: openai.AsyncOpenAI) -> list[str]:
        return [one.id async for one in client.models.list()]

    assert with_client(use, model) == ["clinic"]
    one = with_client(lambda client: client.models.retrieve("mine/model"), model, settings={"model_id": "mine/model"})
    assert (one.id, one.object, one.owned_by) == ("mine/model", "model", "polymode")
    with pytest.raises(openai.NotFoundError, match="the model is not served here"):
        with_client(lambda client: client.models.retrieve("gpt"), model)


def test_k_and_risk_are_extra_fields_and_parts_are_one_question(model: Model) -> None:
    parts = [{"type": "text", "text": "Fever"}, {"type": "text", "text": "and cough?"}]
    ask: Any = {**ASK, "messages": [{"role": "user", "content": parts}], "extra_body": {"k": 2, "risk": "high"}}
    reply = with_client(lambda client: client.chat.completions.create(**ask), model)
    assert json.loads(reply.choices[0].message.content or "")["decision"] == "offer_set"
    assert model.calls[0][0].startswith("Fever\nand cough?\n")


def test_sampling_fields_are_kept_to_and_void_the_guarantee(model: Model) -> None:
    promise = Guarantee("answer", "Promised.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 50, 40, 1)
    policy = replace(Policy(answer_at=0.8, k=2), conditions=replace(FITTED, max_tokens=50)).with_guarantees(promise)
    settings = {"policy": policy, "max_tokens": 50}

    def guarantee(**fields: Any) -> str | None:
        ask = {**ASK, **fields}
        reply = with_client(lambda client: client.chat.completions.create(**ask), model, settings=settings)
        return json.loads(reply.choices[0].message.content or "")["guarantee"]

    assert guarantee() == guarantee(temperature=1, max_tokens=50) == guarantee(max_tokens=5000) == "Promised."
    assert guarantee(temperature=0.5) is None
    assert guarantee(max_completion_tokens=40, max_tokens=45, seed=3) is None
    assert [call["temperature"] for call in model.settings] == [1, 1, 1, 0.5, 1]
    assert [call["max_tokens"] for call in model.settings] == [50, 50, 50, 50, 40]
    first, last = model.settings[0]["seed"], model.settings[-1]["seed"]
    guarantee(max_tokens=40, seed=3)
    assert model.settings[-1]["seed"] == last != first


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "stop": None},
        {"stop": [], "tools": [], "logit_bias": {}, "stream": False, "response_format": {"type": "json_object"}},
        {"user": "anna", "metadata": {"a": "b"}, "store": False},
        {"tool_choice": "none", "parallel_tool_calls": True, "service_tier": "auto", "modalities": ["text"]},
        {"prompt_cache_key": "a", "safety_identifier": "b", "prompt_cache_retention": "24h", "audio": None},
        {"tool_choice": "none", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "auto", "function_call": "none", "functions": [{"name": "f"}]},
        {"response_format": {"type": "text"}, "stop": "", "reasoning_effort": None, "verbosity": "medium"},
    ],
)
def test_fields_that_change_nothing_are_taken(model: Model, fields: dict[str, Any]) -> None:
    ask = {**ASK, **fields}
    assert with_client(lambda client: client.chat.completions.create(**ask), model).choices


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"n": 2}, "n", "a value is not allowed (n; allowed: 1): change it"),
        ({"top_p": 0.9}, "top_p", "allowed: 1)"),
        ({"stop": "x"}, "stop", "allowed: nothing)"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unless tool_choice is none)"),
        ({"tool_choice": "required"}, "tool_choice", "allowed: none or auto"),
        ({"modalities": ["text", "audio"]}, "modalities.1", "allowed: text)"),
        ({"audio": {"voice": "ash", "format": "mp3"}}, "audio", "allowed: nothing)"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "allowed: nothing"),
        ({"temperature": 3}, "temperature", "a number from 0 to 2"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role", "one message with role user"),
        ({"messages": [*ASK["messages"], {"role": "assistant", "content": "x"}]}, "messages.1.role", "at the end"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role", "role user"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]}
                ]
            },
            "messages.0.content.1.type",
            "input should be 'text'",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text", "add it"),
        ({"stream_options": {"include all": True}}, "stream_options.include all", "leave it out"),
        ({"extra_body": {"meta": {"ward no": []}}}, "meta.ward no", "a valid string"),
        ({"verbosity": "high"}, "verbosity", "allowed: medium)"),
        ({"messages": []}, "messages", "the last one with role user"),
        ({"messages": [{"role": "user", "content": "x" * 9_000}] * 2}, "messages", "too long"),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "AnswerSetReply"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages.0.content", "not blank"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 9_000}] * 2}]},
            "messages.0.content",
            "too long",
        ),
        ({"extra_body": {"k": 3}}, "k", "2, which the policy was calibrated with"),
        ({"extra_body": {"reasoning": "high"}}, "reasoning", "leave it out"),
    ],
)
def test_what_cannot_be_done_is_refused_where_the_client_looks(
    model: Model, fields: dict[str, Any], param: str, said: str
) -> None:
    ask = {**ASK, **fields}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        with_client(lambda client: client.chat.completions.create(**ask), model)
    assert caught.value.param == param and said in caught.value.message
    assert caught.value.type == "invalid_request_error"
    assert model.calls == []


class Report(BaseModel):
    """A schema that answer sets do not have."""

    title: str


class Twisted(BaseModel):
    """One that contains itself."""

    more: "Twisted | None"


def test_the_content_has_the_schema_of_an_answer_set_and_no_other(model: Model) -> None:
    async def use(client: openai.AsyncOpenAI) -> Any:
        return await client.chat.completions.parse(**ASK, response_format=AnswerSetReply)

    parsed = with_client(use, model).choices[0].message.parsed
    assert isinstance(parsed, AnswerSetReply) and parsed.answers[0].text == "panic attack"
    asked = len(model.calls)
    empty = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    for foreign in (Report, Twisted, empty, {"type": "json_schema"}):
        form: Any = foreign
        with pytest.raises(openai.UnprocessableEntityError, match="the content cannot have this schema") as caught:
            with_client(lambda client, form=form: client.chat.completions.parse(**ASK, response_format=form), model)
        assert caught.value.param == "response_format.json_schema"
    assert len(model.calls) == asked


def test_a_conversation_is_one_question_without_a_guarantee(model: Model) -> None:
    promise = Guarantee("answer", "Promised.", "learn-then-test", 0.1, 0.05, 0.8, 0.09, 50, 40, 1)
    settings = {"policy": replace(Policy(answer_at=0.8, k=2), conditions=FITTED).with_guarantees(promise)}

    def content(*messages: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        ask = {**ASK, "messages": messages}
        reply = with_client(lambda client: client.chat.completions.create(**ask), model, settings=settings)
        return model.calls[-1][0], json.loads(reply.choices[0].message.content or "")

    last = {"role": "user", "content": "Fever?"}
    prompt, alone = content(last)
    assert alone["guarantee"] == "Promised." and prompt.startswith("Fever?\n")
    prompt, other = content({"role": "system", "content": "Be brief."}, {"role": "developer", "content": " "}, last)
    assert prompt.startswith("Be brief.\n\nFever?\n")
    assert other["guarantee"] is None and "system message or earlier turns" in other["no_guarantee"]
    replied = {"role": "assistant", "content": json.dumps(alone), "refusal": None, "tool_calls": []}
    prompt, _ = content({"role": "user", "content": "Cough?"}, replied, {"role": "assistant", "content": "Yes."}, last)
    history = "User: Cough?\nAssistant: panic attack\nAssistant: Yes."
    assert prompt.startswith(f"Earlier in this conversation:\n{history}\n\nFever?\n")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/embeddings", "/v1/chat/completions", "/v1/models/gpt", "/v1/models/"]
)
def test_every_path_under_v1_fails_as_openai_does(start: Start, path: str) -> None:
    client = start(limits=Limits(body_bytes=1000))
    for method in ("GET", "POST", "DELETE"):
        reply = client.request(method, path)
        error = reply.json().get("error")
        if reply.status_code == 200:  # the list of models, behind a redirect
            continue
        assert reply.status_code in (404, 405, 422) and error["type"] in ("not_found_error", "invalid_request_error")
        assert error["message"] and {"param", "code"} <= set(error)
    assert client.post(path, content=b"x" * 2000).json()["error"]["status"] == 413


def test_a_failure_of_the_server_has_the_form_of_its_api(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start()
    monkeypatch.setattr("polymode.web.answer_service.build_prompt", lambda *_, **__: 1 / 0)
    chat = client.post("/v1/chat/completions", json=ASK)
    assert (chat.status_code, chat.json()["error"]["type"]) == (500, "server_error")
    own = client.post("/v1/answer-sets", json={"question": "q"})
    assert (own.status_code, own.json()["title"]) == (500, "the server failed")
    assert own.headers["content-type"] == "application/problem+json" and own.headers["x-request-id"]


def test_failures_are_the_clients_own_exceptions(model: Model) -> None:
    def create(**changes: Any) -> Callable[[openai.AsyncOpenAI], Awaitable[Any]]:
        ask = {**ASK, **changes}
        return lambda client: client.chat.completions.create(**ask)

    with pytest.raises(openai.NotFoundError, match="the model is not served here") as missing:
        with_client(create(model="gpt"), model)
    assert missing.value.code == "model_not_found"
    keys = Keys({hash_of("right"): Caller("anna")})
    with pytest.raises(openai.AuthenticationError, match="the API key is not known"):
        with_client(create(), model, key="wrong", keys=keys)
    assert with_client(create(), model, key="right", keys=keys).choices
    model.fault = lambda _: GeneratorFault("down")
    with pytest.raises(openai.InternalServerError, match="the model cannot answer now: down") as caught:
        with_client(create(), model)
    assert caught.value.status_code == 503


def test_markup_is_inert_also_when_the_content_is_taken_out(start: Start) -> None:
    text = SURE.replace("panic attack", "<b>x</b>")
    reply = start({"policy": POLICY}, generator=Model(text)).post("/v1/chat/completions", json=ASK)
    assert not set("<>&") & set(reply.text)
    content = reply.json()["choices"][0]["message"]["content"]
    assert not set("<>&") & set(content)
    assert json.loads(content)["answers"][0]["text"] == "<b>x</b>"
