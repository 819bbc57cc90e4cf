"""Listening and ending: signals, requests under way, addresses that are taken."""

import os
import signal
import socket
import threading
from typing import Any

import httpx2
import pytest

from polymode.errors import ConfigError
from polymode.web.app import create_app
from polymode.web.server import serve

from .conftest import Model, serving

SECONDS = 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_told_to_end_answers_what_it_took(
    model: Model, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("polymode.web.server.LOG", None)  # other tests read the log
    model.gate.clear()
    app = create_app(serving(), model)
    statuses: list[int] = []
    ended = threading.Event()
    asking: list[threading.Thread] = []

    def ask(url: str) -> None:
        reply = httpx2.post(f"{url}/v1/answer-sets", json={"question": "q"}, timeout=SECONDS)
        statuses.append(reply.status_code)

    def conduct(url: str) -> None:
        first = threading.Thread(target=ask, args=(url,))
        first.start()
        asking.append(first)
        while not model.calls:
            assert not ended.wait(0.005)
        os.kill(os.getpid(), number)
        while is_listening(url):
            assert not ended.wait(0.005)
        model.gate.set()

    def ready(url: str) -> None:
        asking.append(threading.Thread(target=conduct, args=(url,)))
        asking[0].start()

    before = signal.getsignal(number)
    serve(app, host="127.0.0.1", port=0, ready=ready)  # returns, and is not killed by the signal
    ended.set()
    for thread in asking:
        thread.join(SECONDS)
    assert statuses == [200]
    assert signal.getsignal(number) == before


def is_listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def test_addresses_that_cannot_be_listened_on_are_named() -> None:
    nobody: Any = None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1 port {port} .Address already in use.: choose"
        ):
            serve(nobody, host="127.0.0.1", port=port)
    with pytest.raises(ConfigError, match="cannot listen on 203.0.113.7 port 8000"):
        serve(nobody, host="203.0.113.7", port=8000)  # an address kept for examples, nobody's
    with pytest.raises(ConfigError, match="port = 65536 is not allowed: give a whole number from 0 to 65535"):
        serve(nobody, host="127.0.0.1", port=65536)
