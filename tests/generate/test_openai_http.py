"""A model behind an OpenAI-compatible server that is well, down, slow, busy or talks nonsense."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from polymode import endpoint
from polymode.chat import Chat
from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError
from polymode.generate import Generated, Generator, open_generator, openai_http
from polymode.generate.openai_http import OpenAIGenerator

from ..scripted_server import Reply, Server


def chat(text: Any, finish_reason: str = "stop", **message: object) -> Reply:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return 200, {}, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    one = Server(lambda body: chat(f"re: {body['messages'][0]['content']}"))
    yield one
    one.close()


def ask(server: Server, prompts: tuple[str, ...] = ("p",), *, n: int = 1, **options: Any) -> list[list[Generated]]:
    generator: Generator = OpenAIGenerator(server.url, "m", **{"timeout": 20, "retries": 1, **options})
    return generator.generate(prompts, n=n, max_tokens=9, temperature=0.5, seed=3)


def test_completions_come_in_the_order_of_the_prompts_with_their_tokens(server: Server) -> None:
    made = ask(server, ("a", "b"), n=2)
    assert [[one.text for one in group] for group in made] == [["re: a", "re: a"], ["re: b", "re: b"]]
    assert made[0][0] == Generated("re: a", 5, True, 7)
    assert sorted(body["seed"] for body in server.bodies) == [3, 4, 5, 6]  # no two draw the same
    assert server.bodies[0] | {"messages": [], "seed": 0} == {
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1.0,
        "messages": [],
        "seed": 0,
    }


def test_further_fields_are_sent_and_null_removes_one(server: Server) -> None:
    ask(server, request_options={"top_k": 0, "seed": None, "temperature": 0.7})
    [body] = server.bodies
    assert body["top_k"] == 0 and body["temperature"] == 0.7 and "seed" not in body


def test_arguments_of_the_chat_template_are_sent(server: Server) -> None:
    options = {"base_url": server.url}
    for template in ({"enable_thinking": False}, {}):
        generator = open_generator("openai", "m", options, chat=Chat(template))
        generator.generate(["p"], n=1, max_tokens=9, temperature=0.5, seed=3)
    with_arguments, without = server.bodies
    assert with_arguments["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in without


def test_the_whole_conversation_and_stop_strings_are_sent(server: Server) -> None:
    asked = Chat(system="Be brief.", shots=(("Q1", "A1"),), stop=("\n\n",))
    generator = open_generator("openai", "m", {"base_url": server.url}, chat=asked)
    generator.generate(["Q2"], n=1, max_tokens=9, temperature=0.5, seed=3)
    [body] = server.bodies
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Q1"),
        ("assistant", "A1"),
        ("user", "Q2"),
    ]
    assert body["stop"] == ["\n\n"]


def test_nothing_asked_nothing_sent(server: Server) -> None:
    assert ask(server, ()) == []
    assert server.bodies == []


@pytest.mark.parametrize(
    ("reply", "text", "is_finished"),
    [
        (chat("x", "length"), "x", False),
        (chat("x", "content_filter"), "x", False),
        (chat(None), "", True),
        (chat("x", reasoning_content="so"), "<think>so</think>x", True),
        (chat("x", reasoning="so"), "<think>so</think>x", True),
        (chat("x", "length", reasoning="so"), "<think>so</think>x", False),
        (chat(None, "length", reasoning_content="so"), "<think>so", False),
        (chat([{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "x"}]), "<think>so</think>x", True),
        (chat([{"type": "text", "text": "x"}, {"type": "text", "text": "y"}], "EOS"), "xy", True),
        (chat("\n", "length", reasoning="so"), "<think>so", False),
        (chat(None, reasoning="so"), "<think>so</think>", True),
        (chat("<think>so</think>x", reasoning_content=""), "<think>so</think>x", True),
    ],
)
def test_what_a_reply_says_is_one_text(server: Server, reply: Reply, text: str, is_finished: bool) -> None:
    server.script = lambda _: reply
    [[made]] = ask(server)
    assert (made.text, made.is_finished) == (text, is_finished)


def test_a_server_that_does_not_count_is_not_guessed_for(server: Server) -> None:
    server.script = lambda _: (200, {}, b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}')
    assert ask(server) == [[Generated("x", None, True)]]


def test_the_key_is_sent_and_never_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "hush")
    ask(server, api_key_env="THE_KEY")
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer hush"]
    server.script = lambda _: (401, {}, b"wrong key hush")
    with pytest.raises(GeneratorFault, match=r"status 401: wrong key \*\*\*$"):
        ask(server, api_key_env="THE_KEY")


def test_a_busy_server_is_asked_again(server: Server) -> None:
    replies = [(503, {}, b"loading"), chat("x")]
    server.script = lambda _: replies.pop(0)
    assert ask(server)[0][0].text == "x"


@pytest.mark.parametrize(
    "content",
    [
        b'{"error": {"code": 502, "message": "the provider is down"}, "user_id": "u"}',
        b'{"error": {"code": "429", "message": "slower"}}',
        b'{"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502}}]}',
    ],
)
def test_a_gateway_that_reports_a_failure_with_status_200_is_asked_again(server: Server, content: bytes) -> None:
    replies = [(200, {}, content), chat("x")]
    server.script = lambda _: replies.pop(0)
    assert ask(server)[0][0].text == "x"


def test_a_gateway_that_reports_a_refused_prompt_with_status_200_is_not_asked_again(server: Server) -> None:
    server.script = lambda _: (200, {}, b'{"error": {"code": 400, "message": "context length"}}')
    with pytest.raises(PromptRefusedError, match="status 400: .*context length"):
        ask(server)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("error", "said", "n_asked"),
    [
        ({"code": "insufficient_quota", "message": "no money left"}, "status 429: .*no money left", 2),
        ({"code": 1113, "message": "no money left"}, "status 200 with an error: .*no money left", 2),
        ("no money left", "status 200 with an error: .*no money left", 2),
        ({"code": "context_length_exceeded", "message": "too much"}, "status 400: .*too much", 1),
    ],
)
@pytest.mark.parametrize("is_of_choice", [False, True])
def test_an_error_with_status_200_is_what_the_server_said(
    server: Server, error: Any, said: str, n_asked: int, is_of_choice: bool
) -> None:
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": error}
    server.script = lambda _: (
        200,
        {},
        json.dumps({"choices": [choice]} if is_of_choice else {"error": error}).encode(),
    )
    with pytest.raises(GeneratorFault, match=said) as caught:
        ask(server)
    assert isinstance(caught.value, PromptRefusedError) == (n_asked == 1) and len(server.bodies) == n_asked


def test_a_prompt_that_the_server_refuses_is_told_apart_from_a_server_that_fails(server: Server) -> None:
    server.script = lambda _: (400, {}, b"maximum context length exceeded")
    with pytest.raises(PromptRefusedError, match="status 400: maximum context length exceeded"):
        ask(server)
    server.script = lambda _: (500, {}, b"oops")
    with pytest.raises(GeneratorFault, match="status 500: oops") as caught:
        ask(server)
    assert not isinstance(caught.value, PromptRefusedError)


@pytest.mark.parametrize("content", [b"{}", b'{"choices": [{"message": "x"}]}', b'{"choices": []}', b"[1]", b"<html>"])
def test_nonsense_is_a_fault(server: Server, content: bytes) -> None:
    server.script = lambda _: (200, {}, content)
    with pytest.raises(GeneratorFault, match="the reply (is not|has no choices)"):
        ask(server)


def test_all_attempts_together_keep_to_the_time_limit(server: Server) -> None:
    def silent(_: object) -> Reply:
        server.released.wait(60)
        return chat("x")

    server.script = silent
    start = time.monotonic()
    with pytest.raises(GeneratorFault, match=r"no reply within 0\.3 s"):
        ask(server, timeout=0.3, retries=5)
    assert time.monotonic() - start < 20  # of the 60 that the server takes
    assert len(server.bodies) == 1


def test_a_server_that_is_down_is_named_and_found_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_http, "REST_SECONDS", 1.0)
    monkeypatch.setattr(endpoint, "GIVE_UP_AFTER", 2)
    generator = OpenAIGenerator(server.url, "m", timeout=5, retries=1)
    server.script = lambda _: (502, {}, b"gone")
    for said in ("status 502: gone", r"left alone for [01] s more; last: status 502: gone"):
        with pytest.raises(GeneratorFault, match=said):
            generator.generate(["p"], n=1, max_tokens=9, temperature=1.0, seed=0)
    server.script = lambda _: chat("back")
    time.sleep(1.05)
    assert generator.generate(["p"], n=1, max_tokens=9, temperature=1.0, seed=0)[0][0].text == "back"


def test_a_server_that_is_not_there_is_a_fault() -> None:
    nobody = OpenAIGenerator("http://127.0.0.1:9/v1", "m", retries=0)
    with pytest.raises(GeneratorFault, match="ConnectionRefusedError"):
        nobody.generate(["p"], n=1, max_tokens=9, temperature=1.0, seed=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "ftp://x"}, "base_url 'ftp://x/chat/completions' is not allowed"),
        ({"base_url": 5}, "base_url = 5 is not allowed: give the address"),
        ({"model": " "}, "model = ' ' is not allowed"),
        ({"timeout": "abc"}, "timeout = 'abc' is not allowed: give a number from 0.001 to 3600"),
        ({"concurrency": 1.5}, "concurrency = 1.5 is not allowed: give a whole number from 1 to 256"),
        ({"timeout": 0}, "timeout = 0 is not allowed: give a number from 0.001 to 3600"),
        ({"concurrency": 0}, "concurrency = 0 is not allowed"),
        ({"request_options": {"stream": True}}, "request_options: 'stream' cannot be changed"),
        ({"retries": 21}, "retries = 21 is not allowed"),
        ({"api_key_env": "NOT_SET_HERE"}, "this environment variable is not set"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OpenAIGenerator(**{"base_url": "http://127.0.0.1:9/v1", "model": "m", **options})


# --- streams ---------------------------------------------------------------------------------------------------------


def streamed(*deltas: dict[str, Any], end: str = "data: [DONE]\n\n", reason: str | None = "stop") -> Reply:
    """A reply in events, one for each delta."""
    choices = [{"delta": delta, "finish_reason": None} for delta in deltas]
    if reason:
        choices.append({"delta": {}, "finish_reason": reason})
    events = [{"choices": [choice]} for choice in choices]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    lines = [f"data: {json.dumps(event)}\n\n" for event in (*events, usage)]
    return 200, {"Content-Type": "text/event-stream"}, (": hello\n\n" + "".join(lines) + end).encode()


def told(server: Server, generator: OpenAIGenerator | None = None) -> tuple[list[list[Generated]], list[Any]]:
    """What is generated, and what was told meanwhile."""
    texts: list[Any] = []
    generator = generator or OpenAIGenerator(server.url, "m", timeout=20, retries=1)
    how = {"n": 2, "max_tokens": 9, "temperature": 0.5, "seed": 3}
    return generator.generate(["a", "b"], **how, on_text=lambda i, n, text: texts.append((i, n, text))), texts


def test_a_stream_is_told_as_it_grows_and_is_the_same_completion(server: Server) -> None:
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "hm"}, {"content": "x>"}, {"content": "y\n"}]
    server.script = lambda body: streamed(*deltas) if body.get("stream") else chat("x>y\n", reasoning_content="hm")
    made, texts = told(server)
    assert made == ask(server, ("a", "b"), n=2) == [[Generated("<think>hm</think>x>y\n", 5, True, 7)] * 2] * 2
    for i in range(2):
        for n in range(2):
            assert [text for *own, text in texts if own == [i, n]] == ["<think>hm</think>x>", "<think>hm</think>x>y\n"]
    assert all(body["stream_options"] == {"include_usage": True} for body in server.bodies if "stream" in body)


def test_parts_and_empty_errors_in_a_stream_are_read(server: Server) -> None:
    deltas = [{"content": [{"type": "thinking", "thinking": "hm"}]}, {"content": [{"type": "text", "text": "x>"}]}]
    server.script = lambda _: streamed({"content": None}, *deltas, end='data: {"error": null}\n\ndata: [DONE]\n\n')
    made, texts = told(server)
    assert made[0][0].text == "<think>hm</think>x>" == texts[0][2]


def test_without_somebody_to_tell_nothing_is_streamed(server: Server) -> None:
    ask(server)
    assert "stream" not in server.bodies[0]


def test_a_server_that_does_not_stream_is_taken_as_it_is(server: Server) -> None:
    assert told(server)[0][0][0].text == "re: a"  # it ignores the field
    server.script = lambda body: (400, {}, b"no field stream") if "stream" in body else chat("whole")
    generator = OpenAIGenerator(server.url, "m", timeout=20, retries=1)
    assert told(server, generator)[0][0][0].text == "whole"
    server.bodies.clear()
    assert told(server, generator)[0][0][0].text == "whole"
    assert not any("stream" in body for body in server.bodies)  # it is not asked for that again
    server.script = lambda body: (400, {}, b"too long")
    with pytest.raises(PromptRefusedError, match="too long"):
        told(server)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (streamed({"content": "x"}, end='data: {"error": {"message": "out of memory"}}\n\n'), "out of memory"),
        (streamed({"content": "x"}, end="", reason=None), "the reply broke off: it ended before the completion did"),
        (streamed(end="data: {]\n\n", reason=None), "no part of a chat completion"),
        (streamed(end="data: [1]\n\n"), "no part of a chat completion"),
        ((200, {}, b"<html>"), "the reply is not JSON"),
        ((200, {}, b""), "the reply is not JSON"),
    ],
)
def test_a_stream_that_breaks_off_is_no_completion(server: Server, reply: Reply, problem: str) -> None:
    server.script = lambda body: reply
    with pytest.raises(GeneratorFault, match=problem):
        told(server)


def test_letters_that_are_cut_in_two_come_together(server: Server) -> None:
    _, _, content = streamed({"content": "dolor de estómago 🙂>"})
    plain = content.replace(b"est\\u00f3mago \\ud83d\\ude42", "estómago 🙂".encode())

    def drip(connection: Any) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(plain))
        for i in range(len(plain)):
            connection.write(plain[i : i + 1])
            connection.flush()

    server.script = lambda body: drip
    made, texts = told(server)
    assert made[0][0].text == "dolor de estómago 🙂>" and texts[0][2] == "dolor de estómago 🙂>"


def test_a_server_that_wants_another_name_of_the_limit_gets_it(server: Server) -> None:
    def newer(body: dict[str, Any]) -> Reply:
        if "max_tokens" in body:
            refusal = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, {}, json.dumps({"error": {"message": refusal}}).encode()
        return chat(str(body["max_completion_tokens"]))

    server.script = newer
    generator = OpenAIGenerator(server.url, "m", timeout=20)
    for _ in range(2):
        [[one]] = generator.generate(["p"], n=1, max_tokens=9, temperature=0.5, seed=3)
        assert one.text == "9"
    assert len(server.bodies) == 3  # it is asked once with the name that it does not take


def test_stop_strings_hold_where_the_server_ignores_them(server: Server) -> None:
    server.script = lambda _: chat("1. tea\nSTOP and on", "length")
    [[one]] = ask(server, chat=Chat(stop=("STOP",)))
    assert one == Generated("1. tea\n", 5, True, 7)
    assert server.bodies[0]["stop"] == ["STOP"]
