"""A scripted judge on this machine."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from polymode import endpoint

from ..scripted_server import Reply, Server


def chat(content: Any, finish_reason: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return 200, {"Content-Type": "application/json"}, json.dumps({"choices": [choice]}).encode()


def data_of(body: dict[str, Any]) -> dict[str, Any]:
    """What the judge was asked."""
    return json.loads(body["messages"][1]["content"])


def sensible(body: dict[str, Any]) -> Reply:
    """A judge for whom answers are right that start with the same letter, whatever the case."""
    data = data_of(body)
    first = data["answer_to_judge"][:1].lower()
    matches = [right["number"] for right in data["right_answers"] if right["names"][0][:1].lower() == first]
    return chat(json.dumps({"code": data["code"], "matches": matches}))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A fresh endpoint; waits between attempts are short."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    one = Server(sensible)
    yield one
    one.close()
