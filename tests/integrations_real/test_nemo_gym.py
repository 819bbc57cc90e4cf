"""The resources server in NeMo Gym's own web application: over HTTP, and the shared completions."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import MagicMock

import pytest

from .packages import package
from .shared_completions import K, check_totals, rows

package("nemo_gym", "nemo_gym")

RIGHT = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
# One reference of two answers: coverage 1, Brier -(0.25 + 0)/2, format 1.
TERMS = {"coverage": 1.0, "brier": -0.125, "format": 1.0}


def server_with(**options: Any) -> Any:
    from nemo_gym.server_utils import ServerClient  # pyright: ignore[reportMissingImports]

    from polymode.integrations.nemo_gym import PolymodeResourcesServer, PolymodeServerConfig

    config = PolymodeServerConfig(host="127.0.0.1", port=8080, entrypoint="", name="", polymode=options)
    return PolymodeResourcesServer(config=config, server_client=MagicMock(spec=ServerClient))


def message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}


def request(*output: dict[str, Any], **row: Any) -> dict[str, Any]:
    """The body of a request to ``/verify``, as an agent of NeMo Gym sends it."""
    response = {"id": "r", "created_at": 0.0, "model": "m", "object": "response", "output": list(output)}
    response |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {"responses_create_params": {"input": "Which?"}, "response": response, **row}


@pytest.fixture(scope="module")
def client() -> Any:
    from fastapi.testclient import TestClient

    with TestClient(server_with(k=2).setup_webserver()) as client:
        yield client


def test_import() -> None:
    from importlib.metadata import version

    assert version("nemo-gym").startswith("0.4.")
    assert server_with(k=2).config.polymode == {"k": 2}


def test_reward_and_its_components_over_http(client: Any) -> None:
    body = request(message(RIGHT), references=["the flu", ["measles", "rubeola"]])
    reply = client.post("/verify", json=body)
    assert reply.status_code == 200
    assert (reply.json()["reward"], reply.json()["reward_components"]) == (1.875, TERMS)
    assert client.post("/verify", json=request(message(RIGHT), references=["flu"], k=3)).json()["reward"] == 0


def test_reward_of_what_is_no_answer(client: Any) -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    for output in ((), (message(RIGHT), call), (message("I cannot say."),)):
        assert client.post("/verify", json=request(*output, references=["flu"])).json()["reward"] == 0
    assert client.post("/verify", json=request(message(RIGHT))).status_code == 422  # no references


@pytest.mark.parametrize(
    ("row", "problem"), [({"references": [5]}, "5 is not a reference"), ({"references": ["a"], "k": 0}, "k = 0 is not")]
)
def test_reward_of_a_row_that_cannot_be_used_is_one_line(client: Any, row: dict[str, Any], problem: str) -> None:
    reply = client.post("/verify", json=request(message(RIGHT), **row))
    assert reply.status_code == 422 and problem in reply.json()["detail"]


def test_reward_with_unknown_options_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="kk = 2 is no option: use k, method"):
        server_with(kk=2)


def test_totals() -> None:
    from polymode.integrations.nemo_gym import PolymodeVerifyRequest

    server = server_with(k=K)

    async def verify() -> list[float]:
        bodies = [PolymodeVerifyRequest(**request(message(text), references=row)) for text, row in rows()]
        return [(await server.verify(body)).reward for body in bodies]

    check_totals("nemo_gym", asyncio.run(verify()))
