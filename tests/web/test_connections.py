"""Connections that send nothing, or never end what they send, beside those that ask."""

import http.client
import resource
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from polymode.web import connections
from polymode.web.connections import bounded_protocol, most_connections
from polymode.web.gate import Limits

from .conftest import Live, Model, Start

SECONDS = 20.0
URL = "/v1/answer-sets"
Serve = Callable[..., int]


@pytest.fixture
def serve(live: Live) -> Serve:
    """Starts a server with the limits of `bounded_protocol`, and returns its port."""
    return lambda limit, head_seconds=SECONDS, grace_seconds=connections.GRACE_SECONDS: live(
        http=bounded_protocol(limit, head_seconds, grace_seconds)
    )


def idle(stack: ExitStack, port: int, n: int, text: bytes = b"") -> list[socket.socket]:
    """Connections that send ``text`` and then nothing."""
    sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) for _ in range(n)]
    for one in sockets:
        one.sendall(text)
    return sockets


def status(port: int, path: str = "/health") -> int:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=SECONDS).status_code


def is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1000) == b""
    except ConnectionResetError:
        return True


HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


@pytest.mark.parametrize("text", [b"", HALF])
def test_a_thousand_idle_connections_keep_nobody_out(serve: Serve, text: bytes) -> None:
    limit = most_connections()
    port = serve(limit)
    with ExitStack() as stack:
        idle(stack, port, min(1000, limit // 2), text)
        assert [status(port), status(port, "/ready")] == [200, 200]
        reply = httpx2.post(f"http://127.0.0.1:{port}{URL}", json={"question": "q"}, timeout=SECONDS)
        assert reply.json()["decision"] == "answer"


@pytest.mark.parametrize("text", [b"", HALF])
def test_beyond_the_limit_the_one_that_has_waited_longest_is_closed(serve: Serve, text: bytes) -> None:
    port = serve(8, grace_seconds=0.0)
    with ExitStack() as stack:
        first = idle(stack, port, 8, text)
        assert status(port) == 200
        assert is_closed(first[0])
        more = idle(stack, port, 30, text)
        assert [status(port) for _ in range(5)] == [200] * 5
        assert all(is_closed(one) for one in first[1:])
        more[-1].sendall(b"\r\n\r\n" if text else b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert more[-1].recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_connection_has_time_to_send_its_request(serve: Serve) -> None:
    port = serve(2, grace_seconds=SECONDS)
    with ExitStack() as stack:
        young = idle(stack, port, 10)
        for one in young:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 200 ")
        first = idle(stack, port, 1)
        idle(stack, port, connections.BEYOND + 2)  # so many that it is not waited for
        assert is_closed(first[0])


def test_who_waits_for_an_answer_is_never_closed_for_others(serve: Serve, model: Model) -> None:
    port = serve(4, head_seconds=0.2)
    model.gate.clear()
    url = f"http://127.0.0.1:{port}{URL}"
    with ThreadPoolExecutor(6) as pool, ExitStack() as stack:
        asked = [pool.submit(httpx2.post, url, json={"question": "q"}, timeout=SECONDS) for _ in range(6)]
        while not model.calls:
            time.sleep(0.01)
        idle(stack, port, 20)
        assert status(port) == 200  # though more requests are under way than there may be connections
        time.sleep(0.4)
        model.gate.set()
        assert [reply.result().status_code for reply in asked] == [200] * 6


def test_a_head_that_never_ends_is_given_up_and_a_kept_connection_is_not(serve: Serve) -> None:
    port = serve(100, head_seconds=0.5)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with ExitStack() as stack:
        [silent], [slow] = idle(stack, port, 1), idle(stack, port, 1, HALF)
        for _ in range(3):
            client.request("GET", "/health")
            assert client.getresponse().read() == b'{"status":"ok"}'
            time.sleep(0.25)
        start = time.monotonic()
        assert is_closed(silent) and is_closed(slow)
        assert time.monotonic() - start < SECONDS / 2
        client.sock.sendall(HALF)  # on a connection that was of use before
        assert is_closed(client.sock)
    client.close()


def test_with_too_many_requests_under_way_supervisors_are_still_answered(start: Start, model: Model) -> None:
    client = start(limits=Limits(active=1))
    model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, URL, json={"question": "q"})
        while not model.calls:
            time.sleep(0.01)
        full = client.get("/v1/models")
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert full.json()["error"]["type"] == "server_error"
        assert client.get("/health").status_code == 200
        model.gate.set()
        assert asked.result().status_code == 200
    assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "most"),
    [
        (1024, 20_000, 4352, 4096),
        (1024, 1024, 1024, 768),
        (1024, resource.RLIM_INFINITY, 4352, 4096),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 4096),
        (65_536, 65_536, None, 4096),
        (100, 200, 200, 64),
    ],
)
def test_connections_leave_room_for_other_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, most: int
) -> None:
    limits: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert connections.most_connections() == most
    assert limits == ([] if raised is None else [(raised, hard)])
