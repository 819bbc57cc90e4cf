"""LangChain and LiteLLM as clients of a running `polymode serve`: answers, streams, conversations, refusals."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .packages import package

langchain_openai = package("langchain_openai", "clients")
litellm = package("litellm", "clients")

TEXT = (
    "<think>tremor : panic attack</think>"
    "<answer1>panic attack</answer1><confidence1>0.85</confidence1>"
    "<answer2>migraine</answer2><confidence2>0.40</confidence2>"
)
KEY = "right"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """A server with a scripted model and one key."""
    import uvicorn

    from polymode.generate.scripted import ScriptedGenerator
    from polymode.policy import Policy
    from polymode.web.answer_service import ServingConfig
    from polymode.web.app import create_app
    from polymode.web.keys import Caller, Keys, hash_of

    serving = ServingConfig(model_id="mine/model", policy=Policy(answer_at=0.8, k=2), k=2, style="brief")
    app = create_app(serving, ScriptedGenerator([TEXT]), keys=Keys({hash_of(KEY): Caller("anna")}))
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(20)
    sock.close()


def chat_model(base_url: str, **options: Any) -> Any:
    how = {"model": "mine/model", "base_url": base_url, "api_key": KEY, "max_retries": 0, **options}
    return langchain_openai.ChatOpenAI(**how)


def decided(content: object) -> tuple[str, list[str]]:
    """Decision and answers in the content of a reply."""
    answer_set = json.loads(str(content))
    return answer_set["decision"], [answer["text"] for answer in answer_set["answers"]]


def test_import_of_the_clients() -> None:
    assert litellm.completion and langchain_openai.ChatOpenAI


def test_langchain_asks_streams_and_holds_a_conversation(base_url: str) -> None:
    model = chat_model(base_url)
    assert decided(model.invoke("Fever?").content) == ("answer", ["panic attack"])
    reply = model.invoke("Fever?")
    talk = [("system", "Be brief."), ("human", "Cough?"), ("ai", reply.content), ("human", "Fever?")]
    answer_set = json.loads(model.invoke(talk).content)
    assert answer_set["decision"] == "answer" and answer_set["guarantee"] is None
    chunks = [chunk.content for chunk in model.stream("Fever?")]
    assert len([chunk for chunk in chunks if chunk]) >= 4  # the opening, two answers, the decision
    assert decided("".join(chunks)) == ("answer", ["panic attack"])
    assert [slot["text"] for slot in json.loads("".join(chunks))["slots"]] == ["panic attack", "migraine"]


def test_langchain_reads_the_answer_set_as_an_object(base_url: str) -> None:
    from polymode.web.schema import AnswerSetReply

    structured = chat_model(base_url).with_structured_output(AnswerSetReply, method="json_schema")
    reply = structured.invoke("Fever?")
    assert isinstance(reply, AnswerSetReply) and reply.answers[0].text == "panic attack"


def test_langchain_is_refused_what_is_not_there(base_url: str) -> None:
    import openai

    tools = chat_model(base_url).bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}])
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        tools.invoke("Fever?")
    with pytest.raises(openai.AuthenticationError):
        chat_model(base_url, api_key="wrong").invoke("Fever?")


def test_litellm_asks_and_streams(base_url: str) -> None:
    how = {"model": "openai/mine/model", "base_url": base_url, "api_key": KEY, "num_retries": 0}
    question = [{"role": "user", "content": "Fever?"}]
    reply = litellm.completion(messages=question, **how)
    assert decided(reply.choices[0].message.content) == ("answer", ["panic attack"])
    talk = [{"role": "system", "content": "Be brief."}, *question]
    extra = {"tool_choice": "none", "parallel_tool_calls": True, "service_tier": "auto", "user": "anna"}
    assert decided(litellm.completion(messages=talk, **how, **extra).choices[0].message.content)[0] == "answer"
    parts = [
        chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=question, stream=True, **how)
    ]
    assert decided("".join(parts)) == ("answer", ["panic attack"]) and len([part for part in parts if part]) >= 4


def test_litellm_knows_the_refusals(base_url: str) -> None:
    how = {"messages": [{"role": "user", "content": "Fever?"}], "base_url": base_url, "num_retries": 0}
    with pytest.raises(litellm.NotFoundError, match="the model is not served here"):
        litellm.completion(model="openai/gpt", api_key=KEY, **how)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(model="openai/mine/model", api_key="wrong", **how)
    with pytest.raises(litellm.BadRequestError, match="top_p"):
        litellm.completion(model="openai/mine/model", api_key=KEY, top_p=0.5, **how)
