"""A server with a scripted model, asked with and without a network."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from polymode.generate import Generated
from polymode.generate.scripted import ScriptedGenerator
from polymode.policy import Conditions, Policy, QuestionStatistics
from polymode.web.answer_service import ServingConfig
from polymode.web.app import create_app

SURE = (
    "<think> headache : migraine ; tremor : panic attack ; dizziness : panic attack ; so panic attack </think>"
    "<answer1>panic attack</answer1><confidence1>0.85</confidence1>"
    "<answer2>migraine</answer2><confidence2>0.40</confidence2>"
)
POLICY = Policy(answer_at=0.8, offer_at=0.5, k=2)
CONDITIONS = Conditions(
    model="clinic",
    fingerprint="0123456789abcdef",
    task="clinic",
    style="brief",
    prompts=("{question}\nGive 2 answers with confidence\n",),
    chat={"system": ""},
    k=2,
    temperature=1.0,
    max_tokens=1536,
)
"""How the scripted model is said to be run."""
FITTED = replace(CONDITIONS, questions=QuestionStatistics(100, (1, 10, 40), ("LATIN",)))
"""What a policy was fitted on that suits it."""


class Model:
    """A scripted model that notes what it is asked and can be told to wait or to fail.

    ``gate`` holds every call until it is set; ``fault`` is raised instead of an answer.
    """

    takes_seeds = True

    def __init__(self, *texts: str) -> None:
        self.scripted = ScriptedGenerator(list(texts) or [SURE])
        self.calls: list[list[str]] = []
        self.settings: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Callable[[Sequence[str]], Exception | None] = lambda prompts: None

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int | Sequence[int]
    ) -> list[list[Generated]]:
        self.calls.append(list(prompts))
        self.settings.append({"n": n, "max_tokens": max_tokens, "temperature": temperature, "seed": seed})
        assert self.gate.wait(20)
        if (fault := self.fault(prompts)) is not None:
            raise fault
        return self.scripted.generate(prompts, n=n, max_tokens=max_tokens, temperature=temperature, seed=seed)


@pytest.fixture
def model() -> Iterator[Model]:
    """The model behind the server; what waits at its gate is let go in the end."""
    one = Model()
    yield one
    one.gate.set()


def serving(**changes: Any) -> ServingConfig:
    own = {"model_id": "clinic", "policy": POLICY, "k": 2, "style": "brief", "seconds": 20.0, "conditions": CONDITIONS}
    return ServingConfig(**{**own, **changes})


Start = Callable[..., TestClient]


@pytest.fixture
def start(model: Model) -> Iterator[Start]:
    """Starts a server: keyword arguments of `create_app`, and ``settings`` of `Serving`; stopped after the test."""
    running: list[TestClient] = []

    def begin(settings: dict[str, Any] | None = None, **options: Any) -> TestClient:
        app = create_app(serving(**(settings or {})), options.pop("generator", model), **options)
        running.append(TestClient(app, raise_server_exceptions=False).__enter__())
        return running[-1]

    yield begin
    model.gate.set()
    for client in running:
        client.__exit__(None, None, None)


Live = Callable[..., int]


@pytest.fixture
def live(model: Model) -> Iterator[Live]:
    """Starts a real server and returns its port: arguments of `create_app`, or an ``app``, and uvicorn's ``http``."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def begin(
        app: Any = None, port: int = 0, settings: dict[str, Any] | None = None, http: Any = "auto", **options: Any
    ) -> int:
        app = app or create_app(serving(**(settings or {})), options.pop("generator", model), **options)
        sock = socket.create_server(("127.0.0.1", port), backlog=2048)
        config = uvicorn.Config(app, http=http, log_level="critical", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        running.append((server, thread, sock))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        return sock.getsockname()[1]

    yield begin
    model.gate.set()
    for server, thread, sock in running:
        server.should_exit = True
        thread.join(20)
        sock.close()
