"""A server behind the server: down, slow, back again, and asked for many completions at once."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from polymode import endpoint
from polymode.generate.openai_http import OpenAIGenerator
from polymode.web.app import create_app

from .conftest import SURE, Live, Start, serving

URL = "/v1/answer-sets"


class Behind:
    """An OpenAI-compatible server that takes ``seconds`` for each completion."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.busy = self.most_busy = 0
        self.app = FastAPI()
        self.may_end = threading.Event()

        @self.app.post("/v1/chat/completions")
        async def complete(body: dict[str, Any]) -> Any:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            await asyncio.sleep(self.seconds)
            self.busy -= 1
            if body.get("stream"):
                return StreamingResponse(self.stream(), media_type="text/event-stream")
            if "long" in body["messages"][0]["content"]:
                return Response("maximum context length exceeded", 400)
            choice = {"message": {"content": SURE}, "finish_reason": "stop"}
            return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}

    async def stream(self) -> AsyncIterator[str]:
        """The first answer, and the rest when it may."""
        place = SURE.index("<answer2>")
        for text, reason in ((SURE[:place], None), (SURE[place:], "stop")):
            choice = {"delta": {"content": text}, "finish_reason": reason}
            yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            await asyncio.to_thread(self.may_end.wait, 20)
        yield 'data: {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}\n\ndata: [DONE]\n\n'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("polymode.generate.openai_http.REST_SECONDS", 0.1)
    monkeypatch.setattr("polymode.web.answer_service.BAD_SECONDS", 0.05)


def test_a_server_behind_that_is_down_is_found_again_without_a_restart(start: Start, live: Live) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = start(generator=OpenAIGenerator(f"http://127.0.0.1:{port}/v1", "m", timeout=5, retries=1), size=1)
    reply = client.post(URL, json={"question": "q"})
    assert reply.status_code == 503 and "ConnectionRefusedError" in reply.json()["title"]
    assert client.get("/ready").status_code == 503
    live(app=Behind().app, port=port)
    time.sleep(0.1)
    body = client.post(URL, json={"question": "q"}).json()
    assert body["decision"] == "answer"
    assert body["usage"] == {"prompt_tokens": 11, "completion_tokens": 22}
    assert client.get("/ready").status_code == 200


def test_answers_of_a_server_behind_come_while_it_writes(live: Live) -> None:
    behind = Behind()
    generator = OpenAIGenerator(f"http://127.0.0.1:{live(app=behind.app)}/v1", "m", timeout=20)
    url = f"http://127.0.0.1:{live(generator=generator, size=1)}/v1/chat/completions"
    ask = {"model": "clinic", "messages": [{"role": "user", "content": "q"}], "stream": True}
    events = []
    with httpx2.stream("POST", url, json={**ask, "stream_options": {"include_usage": True}}, timeout=20) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
            if "panic attack" in line:
                behind.may_end.set()  # until here the server behind has not ended
    assert events[-1]["usage"] == {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}
    content = json.loads("".join(one["choices"][0]["delta"].get("content", "") for one in events[:-1]))
    assert content["decision"] == "answer" and [one["slot"] for one in content["slots"]] == [1, 2]


def test_a_server_behind_that_is_slow_is_said_to_be(start: Start, live: Live) -> None:
    behind = Behind()
    behind.seconds = 1.0
    generator = OpenAIGenerator(f"http://127.0.0.1:{live(app=behind.app)}/v1", "m", timeout=0.2, retries=3)
    client = start({"seconds": 5.0}, generator=generator, size=1)
    reply = client.post(URL, json={"question": "q"})
    assert reply.status_code == 503 and "no reply within 0.2 s" in reply.json()["title"]
    behind.seconds = 0.0
    assert client.post(URL, json={"question": "q"}).status_code == 200


def test_one_prompt_too_long_for_the_server_behind_is_one_clients_affair(start: Start, live: Live) -> None:
    client = start(generator=OpenAIGenerator(f"http://127.0.0.1:{live(app=Behind().app)}/v1", "m"), size=1, workers=2)
    reply = client.post(URL, json={"question": "long"})
    assert reply.status_code == 422 and "maximum context length" in reply.json()["title"]
    assert client.post(URL, json={"question": "q"}).status_code == 200


def test_the_server_behind_is_asked_by_as_many_as_there_are_workers(live: Live) -> None:
    behind = Behind()
    behind.seconds = 0.1
    generator = OpenAIGenerator(f"http://127.0.0.1:{live(app=behind.app)}/v1", "m")
    app = create_app(serving(), generator, size=1, workers=4)

    async def many() -> list[int]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            replies = await asyncio.gather(*(client.post(URL, json={"question": "q"}) for _ in range(8)))
            return [reply.status_code for reply in replies]

    assert asyncio.run(many()) == [200] * 8
    assert behind.most_busy == 4
