"""What a request passes before it is read: keys, hosts, and bodies that are too long or never end."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from polymode.web.gate import LOCAL_HOSTS, Limits
from polymode.web.keys import Caller, Keys, hash_of, new_key, read_keys

from .conftest import SURE, Live, Model, Start

URL = "/v1/answer-sets"
KEYS = Keys({hash_of("right"): Caller("anna"), hash_of("other"): Caller("ben")})
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


SCOPED = Keys({hash_of(scope): Caller(f"{scope}-key", frozenset({scope})) for scope in ("ask", "review", "operate")})


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("POST", URL, "ask"),
        ("POST", "/v1/chat/completions", "ask"),
        ("GET", "/v1/models", "ask"),
        ("GET", "/v1/none", "ask"),
        ("GET", "/metrics", "operate"),
        ("GET", "/openapi.json", ""),
    ],
)
def test_a_key_opens_what_its_scopes_say(start: Start, model: Model, method: str, path: str, needs: str) -> None:
    client = start(keys=SCOPED)
    for scope in ("ask", "review", "operate"):
        reply = client.request(method, path, headers={"authorization": f"Bearer {scope}"})
        if needs in ("", scope):
            assert reply.status_code in (200, 404, 422)
            continue
        problem = reply.json().get("error", reply.json())
        title, allowed = "the API key does not allow this", f"a key with the scope {needs}"
        assert (reply.status_code, problem["title"], problem["allowed"]) == (403, title, allowed)
    assert model.calls == []


def test_what_the_policy_withholds_is_for_those_who_review(start: Start, model: Model) -> None:
    both = Caller("both", frozenset({"ask", "review"}))
    client = start(keys=Keys({hash_of("ask"): Caller("ask", frozenset({"ask"})), hash_of("both"): both}))
    for key, texts in (("ask", ["panic attack"]), ("both", ["panic attack", "migraine"])):
        headers = {"authorization": f"Bearer {key}"}
        body = client.post(URL, json={"question": "q"}, headers=headers).json()
        assert [one["text"] for one in body["answers"]] == ["panic attack"]
        assert [one["text"] for one in body["candidates"]] == texts
        chat = {"model": "clinic", "messages": [{"role": "user", "content": "q"}]}
        for stream in (False, True):
            said = client.post("/v1/chat/completions", json={**chat, "stream": stream}, headers=headers).text
            assert ("migraine" in said) == (key == "both")
    model.scripted = Model(SURE.replace("0.85", "0.30").replace("0.40", "0.10")).scripted
    escalated = client.post(URL, json={"question": "q"}, headers={"authorization": "Bearer ask"}).json()
    assert (escalated["decision"], escalated["candidates"]) == ("escalate", [])


def test_log_and_metrics_name_the_key(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="polymode.web")
    client = start(keys=SCOPED)
    client.post(URL, json={"question": "q"}, headers={"authorization": "Bearer ask"})
    client.post(URL, json={"question": "q"}, headers={"authorization": "Bearer operate"})
    client.post(URL, json={"question": "q"}, headers={"authorization": "Bearer wrong"})
    lines = [record.getMessage().split() for record in caplog.records if record.name == "polymode.web"]
    assert [(line[2], line[-1]) for line in lines] == [("200", "ask-key"), ("403", "operate-key"), ("401", "-")]
    counted = client.get("/metrics", headers={"authorization": "Bearer operate"}).text
    assert f'polymode_requests_total{{key="ask-key",path="{URL}",status="200"}} 1.0' in counted
    assert f'polymode_requests_total{{key="operate-key",path="{URL}",status="403"}} 1.0' in counted
    assert f'polymode_requests_total{{key="",path="{URL}",status="401"}} 1.0' in counted


def test_a_key_is_taken_away_without_a_restart(start: Start, tmp_path: Any) -> None:
    path = tmp_path / "keys.txt"
    key = new_key(path, "anna")
    client = start(keys=read_keys(path))
    headers = {"authorization": f"Bearer {key}"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    path.write_text("")
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_no_key_takes_all_places(start: Start, model: Model) -> None:
    callers = {hash_of("a"): Caller("a", share=0.5), hash_of("b"): Caller("b", share=0.5)}
    client = start(keys=Keys(callers), room=4, size=1)
    model.gate.clear()
    with ThreadPoolExecutor(8) as pool:

        def ask(key: str, wait_for: int) -> Any:
            reply = pool.submit(client.post, URL, json={"question": "q"}, headers={"authorization": f"Bearer {key}"})
            end = time.monotonic() + 20
            while not reply.done() and time.monotonic() < end:
                n = client.get("/metrics", headers={"authorization": "Bearer b"}).text
                if f"polymode_queue_length {wait_for}.0" in n and len(model.calls) == 1:
                    break
                time.sleep(0.01)
            return reply

        first = [ask("a", n) for n in (0, 1, 2)]  # one is with the model, two wait
        refused = ask("a", 99).result()
        assert (refused.status_code, refused.json()["title"]) == (429, "too many requests of this key wait")
        others = [ask("b", n) for n in (3, 4)]
        assert ask("b", 99).result().json()["title"] == "too many requests wait"
        model.gate.set()
        assert [reply.result().status_code for reply in (*first, *others)] == [200] * 5


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


def test_head_is_get_without_its_body(live: Live) -> None:
    port = live()
    for path, status in (
        ("/health", 200),
        ("/ready", 200),
        ("/v1/models", 200),
        ("/none", 404),
        ("/v1/answer-sets", 405),
    ):
        said = reply_to(port, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = said.partition(b"\r\n\r\n")
        assert (
            head.startswith(f"HTTP/1.1 {status} ".encode()) and body == b"" and b"content-length: 0" not in head.lower()
        )


def test_scripts_of_other_sites_may_call_the_api_by_option_only(start: Start) -> None:
    ask = {"origin": "https://app.example", "access-control-request-method": "POST"}
    ask["access-control-request-headers"] = "authorization,content-type,x-stainless-os"
    closed = start(keys=KEYS)
    assert "access-control-allow-origin" not in closed.options(URL, headers=ask).headers
    client = start(keys=KEYS, allow_origins=["https://app.example"])
    allowed = client.options(URL, headers=ask)  # a preflight has no key
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "x-stainless-os" in allowed.headers["access-control-allow-headers"]
    refused = client.post(URL, json={"question": "q"}, headers={"origin": "https://app.example"})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in refused.headers
    other = client.options(URL, headers={**ask, "origin": "https://evil.example"})
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


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
