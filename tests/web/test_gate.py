"""What a request passes before it is read: keys, hosts, and bodies that are too long or never end."""

import socket
import time
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from polymode.web.gate import LOCAL_HOSTS, Limits
from polymode.web.keys import Keys, hash_of

from .conftest import Live, Model, Start

URL = "/v1/answer-sets"
KEYS = Keys({"anna": hash_of("right"), "ben": hash_of("other")})
HEAD = b"POST /v1/answer-sets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


# --- keys and hosts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "title"),
    [
        (None, "no API key"),
        ("Bearer", "no API key"),
        ("Bearer wrong", "the API key is not known"),
        ("Basic right", "the API key is not known"),
        ("Bearer right wrong", "the API key is not known"),
        (b"Bearer \xff\xfe", "the API key is not known"),
        (f"Bearer {hash_of('right')}", "the API key is not known"),  # who reads the file of hashes cannot use them
    ],
)
def test_without_a_known_key_nothing_is_answered(start: Start, model: Model, header: Any, title: str) -> None:
    client = start(keys=KEYS)
    headers = {} if header is None else {"authorization": header}
    for method, path in (("POST", URL), ("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics"),
                         ("GET", "/openapi.json"), ("GET", "/no/such/path")):  # fmt: skip
        reply = client.request(method, path, headers=headers)
        problem = reply.json().get("error", reply.json())
        assert (reply.status_code, problem["title"], problem["value"]) == (401, title, None)
        assert reply.headers["www-authenticate"] == "Bearer"
    assert model.calls == []


@pytest.mark.parametrize("header", ["Bearer right", "bearer right", "Bearer other", "Bearer  right "])
def test_each_known_key_opens(start: Start, header: str) -> None:
    client = start(keys=KEYS)
    assert client.post(URL, json={"question": "q"}, headers={"authorization": header}).status_code == 200
    assert client.get("/metrics", headers={"authorization": header}).status_code == 200


def test_what_keeps_the_server_running_needs_no_key(start: Start) -> None:
    client = start(keys=KEYS)
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    assert client.get("/health/").status_code in (401, 404)  # only these very paths


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("[::1].evil.example", 421),
        ("", 421),
    ],
)
def test_a_page_that_renames_this_machine_is_refused(start: Start, host: str, status: int) -> None:
    assert start(hosts=LOCAL_HOSTS).get("/health", headers={"host": host}).status_code == status


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_a_long_body_is_refused(start: Start, model: Model) -> None:
    client = start(limits=Limits(body_bytes=100))
    reply = client.post(URL, json={"question": "x" * 200})
    assert reply.status_code == 413
    assert reply.json()["allowed"] == "100 bytes"
    assert reply.headers["connection"] == "close"
    assert client.post(URL, json={"question": "x"}).status_code == 200
    assert len(model.calls) == 1


def reply_to(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that the server says to some bytes, sent one after another, until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        said = b""
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it has hung up already
                break
            time.sleep(pause)
        while True:
            try:
                more = connection.recv(65536)
            except ConnectionResetError:
                return said
            if not more:
                return said
            said += more


def test_a_body_announced_as_too_long_is_refused_before_it_is_sent(live: Live) -> None:
    said = reply_to(live(), HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ") and b'"title":"the body is too long"' in said


def test_a_body_in_endless_pieces_is_refused_at_the_limit(live: Live, model: Model) -> None:
    piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
    said = reply_to(live(limits=Limits(body_bytes=2000)), HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[piece] * 50)
    assert said == b"" or said.startswith(b"HTTP/1.1 413 ")  # what was sent after the reply may have undone it
    assert model.calls == []


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_drips_is_given_up(live: Live, framing: bytes) -> None:
    drop = b"1\r\n \r\n" if b"chunked" in framing else b" "
    port = live(limits=Limits(body_seconds=0.3))
    start = time.monotonic()
    said = reply_to(port, HEAD + framing, *[drop] * 40, pause=0.02)
    assert said.startswith(b"HTTP/1.1 408 ") and b"connection: close" in said.lower()
    assert time.monotonic() - start < 5
    with socket.create_connection(("127.0.0.1", port), timeout=20) as other:  # the server is well
        other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_within_its_body_is_no_error(live: Live, model: Model) -> None:
    port = live()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"question"')
    body = b'{"question": "q"}'
    said = reply_to(port, HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert len(model.calls) == 1


def test_other_kinds_of_connections_pass_through(start: Start) -> None:
    with pytest.raises(WebSocketDisconnect), start().websocket_connect(URL):
        raise AssertionError
