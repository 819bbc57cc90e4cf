"""The endpoint by itself; `tests/verifiers/test_judge.py` tries servers that are down, slow or talk nonsense."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from polymode import endpoint
from polymode.endpoint import Endpoint
from polymode.errors import MissingExtraError, VerifierFault

from .scripted_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(lambda body: (200, {}, b'{"x": 1}'))
    yield one
    one.close()


def endpoint_at(url: str, **options: Any) -> Endpoint:
    return Endpoint(url, **{"api_key_env": None, "timeout": 20, "retries": 0, "requests_per_minute": 0, **options})


@pytest.mark.parametrize("package", ["httpx2", "anyio.from_thread"])
def test_what_to_install_is_said(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'polymode\[http\]'"):
        endpoint_at("http://localhost/v1")


def test_it_can_be_asked_while_the_callers_own_event_loop_runs(server: Server) -> None:
    async def notebook() -> Any:
        return endpoint_at(server.url).post({})

    assert asyncio.run(notebook()) == {"x": 1}


def test_no_thread_is_left_when_nothing_is_under_way(server: Server) -> None:
    before = {thread.name for thread in threading.enumerate()}
    one = endpoint_at(server.url)
    assert one.post({}) == one.post({"again": True}) == {"x": 1}
    names = {thread.name for thread in threading.enumerate()} - before
    assert [name for name in names if "process_request" not in name] == []  # those are the server's


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # the server's threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_can_ask_too(server: Server) -> None:
    one = endpoint_at(server.url)
    one.post({})
    child = os.fork()
    if child == 0:
        os._exit(0 if one.post({}) == {"x": 1} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_stop_cuts_off_what_is_under_way_and_refuses_until_resume(server: Server) -> None:
    reply = server.script
    server.script = lambda body: server.released.wait(60) and reply(body)
    one = endpoint_at(server.url)
    timer = threading.Timer(0.2, one.stop)
    timer.start()
    began = time.monotonic()
    with pytest.raises(VerifierFault, match="no reply, stopped"):
        one.post({})
    assert time.monotonic() - began < 5
    with pytest.raises(VerifierFault, match="not asked, stopped"):
        one.post({})
    one.resume()
    server.script = reply
    assert one.post({}) == {"x": 1}


def test_proxies_of_the_environment_are_not_used_and_redirects_not_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert endpoint_at(server.url).post({}) == {"x": 1}
    server.script = lambda body: (307, {"Location": f"{server.url}/elsewhere"}, b"moved")
    with pytest.raises(VerifierFault, match="status 307: moved"):
        endpoint_at(server.url).post({})
    assert len(server.bodies) == 2


def test_a_long_run_waits_for_a_server_that_comes_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoint, "GIVE_UP_AFTER", 2)
    one = endpoint_at(server.url, retries=3, rest_seconds=0.1, seconds_in_all=20, is_patient=True)
    one.post({})
    replies = [(503, {}, b"restarting")] * 3
    server.script = lambda _: replies.pop() if replies else (200, {}, b'{"x": 2}')
    start = time.monotonic()
    assert one.post({}) == {"x": 2}
    assert time.monotonic() - start >= 0.1  # it was left alone, and asked again afterwards


@pytest.mark.parametrize("value", ["0", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wish_for_no_waiting_does_not_end_the_patience(
    value: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.1)
    replies = [(503, {"Retry-After": value}, b"restarting")] * 2
    server.script = lambda _: replies.pop() if replies else (200, {}, b'{"x": 2}')
    start = time.monotonic()
    assert endpoint_at(server.url, retries=3).post({}) == {"x": 2}
    assert time.monotonic() - start >= 0.2  # 0.1 s and 0.2 s, each a quarter more or less


def test_a_long_run_does_not_wait_long_for_a_server_that_never_replied(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    server.script = lambda _: (503, {}, b"no")
    one = endpoint_at(server.url, retries=9, is_patient=True)
    with pytest.raises(VerifierFault, match="status 503: no"):
        one.post({})
    assert len(server.bodies) == 3


def test_patience_ends_with_the_seconds_in_all(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "GIVE_UP_AFTER", 1)
    server.script = lambda _: (503, {}, b"no")
    one = endpoint_at(server.url, rest_seconds=60, seconds_in_all=0.2, is_patient=True)
    for problem in ("status 503: no", "not asked, left alone for 60 s more; last: status 503: no"):
        with pytest.raises(VerifierFault, match=problem):
            one.post({})
