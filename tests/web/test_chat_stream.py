"""Streams of chat completions: answers come while the model writes, read with the `openai` package."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import openai
import pytest

from polymode.errors import GeneratorFault
from polymode.generate import Generated
from polymode.web import chat_stream
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.slots import Slot, SlotReader, written

from .conftest import SURE, Live, Model
from .test_chat import ASK

SLOTS = [
    {"completion": 1, "slot": 1, "text": "panic attack", "confidence": 0.85},
    {"completion": 1, "slot": 2, "text": "migraine", "confidence": 0.4},
]
FIRST = SURE.index("<answer2>")
SECONDS = 20.0


class Writer(Model):
    """Writes the first answer, and the rest when it is told to; ``fault`` is raised in between."""

    tells_texts = True

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.may_end = threading.Event()

    def generate(self, prompts: Sequence[str], *, on_text: Any = None, **options: Any) -> list[list[Generated]]:
        for number in range(len(prompts) if on_text else 0):
            on_text(number, 0, SURE[: FIRST + 3])
        assert self.may_end.wait(SECONDS)
        return super().generate(prompts, **options)


@pytest.fixture
def writer() -> Any:
    one = Writer()
    yield one
    one.may_end.set()


def client_of(port: int, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=SECONDS)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_answer_comes_before_the_next_one_is_written(live: Live, writer: Writer) -> None:
    with client_of(live(generator=writer)) as client:
        chunks = iter(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
        opening, first = next(chunks), next(chunks)
        assert opening.choices[0].delta.role == "assistant"
        assert json.loads(first.choices[0].delta.content or "") == SLOTS[0]
        writer.may_end.set()  # until here the model has not ended
        *rest, end, usage = chunks
        text = "".join(one.choices[0].delta.content or "" for one in (opening, first, *rest))
        content = json.loads(text)
        assert content.pop("slots") == SLOTS
        assert content["decision"] == "answer" and [one["text"] for one in content["answers"]] == ["panic attack"]
        assert (end.choices[0].finish_reason, end.choices[0].delta.content) == ("stop", None)
        assert usage.choices == [] and usage.object == "chat.completion.chunk"
        assert len({one.id for one in (opening, first, *rest, end, usage)}) == 1
        whole = client.chat.completions.create(**ASK).choices[0].message.content or ""
        own = json.loads(whole)
        assert {**content, "request_id": ""} == {**own, "request_id": ""}


def test_who_may_not_see_what_is_withheld_waits_for_the_decision(
    live: Live, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_stream, "COMMENT_SECONDS", 0.05)
    keys = Keys({hash_of("ask"): Caller("ask", frozenset({"ask"}))})
    port = live(generator=writer, keys=keys)
    headers, lines = {"authorization": "Bearer ask"}, []
    with httpx2.stream(
        "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json={**ASK, "stream": True}, headers=headers
    ) as reply:
        assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
        for line in reply.iter_lines():
            if line.startswith(":"):
                writer.may_end.set()  # only comments have come so far
                assert not any("panic" in line for line in lines)
            lines.append(line)
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    content = json.loads("".join(event["choices"][0]["delta"].get("content", "") for event in events))
    assert [one["text"] for one in content["candidates"]] == ["panic attack"] and "slots" not in content
    assert not any("migraine" in line for line in lines) and any(line.startswith(":") for line in lines)


def test_with_a_schema_the_content_is_the_answer_set_alone(live: Live, model: Model) -> None:
    from polymode.web.schema import AnswerSetReply

    with (
        client_of(live()) as client,
        client.chat.completions.stream(**ASK, response_format=AnswerSetReply) as stream,
    ):
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, AnswerSetReply) and parsed.decision == "answer"


@pytest.mark.parametrize("fails_late", [False, True])
def test_a_failure_has_a_status_before_the_first_answer_and_is_an_event_after_it(
    live: Live, writer: Writer, fails_late: bool
) -> None:
    writer.fault = lambda _: GeneratorFault("down")
    generator: Model = writer
    if not fails_late:
        generator = Model()
        generator.fault = writer.fault
    with client_of(live(generator=generator)) as client:
        if not fails_late:
            with pytest.raises(openai.InternalServerError, match="the model cannot answer now: down") as caught:
                client.chat.completions.create(**ASK, stream=True)
            assert caught.value.status_code == 503
            return
        stream = client.chat.completions.create(**ASK, stream=True)
        assert all(next(stream).choices for _ in range(2))
        writer.may_end.set()
        with pytest.raises(openai.APIError, match="the model cannot answer now: down"):
            next(stream)


def test_a_full_queue_is_refused_with_its_status(live: Live, model: Model) -> None:
    model.gate.clear()
    port = live(room=1, size=1)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    waiting = [
        threading.Thread(target=httpx2.post, args=(url,), kwargs={"json": ASK, "timeout": SECONDS}) for _ in range(2)
    ]
    waiting[0].start()
    wait_until(lambda: bool(model.calls))
    waiting[1].start()
    wait_until(lambda: "polymode_queue_length 1.0" in httpx2.get(f"http://127.0.0.1:{port}/metrics").text)
    with client_of(port) as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**ASK, stream=True)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    model.gate.set()
    for thread in waiting:
        thread.join(SECONDS)


def test_a_client_that_leaves_ends_its_question(live: Live, model: Model) -> None:
    model.gate.clear()
    port = live(size=1)
    url = f"http://127.0.0.1:{port}"
    ask = {"json": {"question": "q"}, "timeout": SECONDS}
    first = threading.Thread(target=httpx2.post, args=(f"{url}/v1/answer-sets",), kwargs=ask)
    first.start()
    wait_until(lambda: bool(model.calls))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{url}/v1/chat/completions", json={**ASK, "stream": True}, timeout=0.3)
    wait_until(lambda: 'status="499"' in httpx2.get(f"{url}/metrics").text)
    assert "polymode_queue_length 0.0" in httpx2.get(f"{url}/metrics").text
    model.gate.set()
    first.join(SECONDS)
    assert len(model.calls) == 1


# --- slots of a text -------------------------------------------------------------------------------------------------


def told(text: str, k: int, cut: Callable[[str], Sequence[str]]) -> list[Slot]:
    slots: list[Slot] = []
    reader = SlotReader(k, 1, slots.append)
    for part in cut(text):
        reader.read(0, part)
    return slots


@pytest.mark.parametrize(
    "text",
    [
        SURE,
        SURE.partition("</think>")[2],
        "<think>1. x | 0.5\n</think>1. panic attack | 0.85\n2. migraine | 0.40\n",
        "<answer1>panic attack</answer1><answer2>migraine</answer2><analysis>so</analysis>"
        "<confidence1>0.85</confidence1><confidence2>0.40</confidence2>",
        "<think>which?</think>\n<confidence1>0.85</confidence1><answer1>panic attack</answer1>"
        "<confidence2>0.40</confidence2><answer2>migraine</answer2>",
    ],
)
def test_slots_are_told_once_in_order_and_only_when_complete(text: str) -> None:
    def letters(text: str) -> list[str]:
        return [text[:end] for end in range(len(text) + 1)]

    assert [slot.model_dump() for slot in told(text, 2, letters)] == SLOTS
    assert written(text[: text.rindex("migraine") + 8], 2) == written(text[: text.rindex("migraine")], 2)


def test_a_slot_that_begins_with_its_confidence_ends_with_its_answer() -> None:
    text = "<confidence1>0.85</confidence1><answer1>panic attack</answer1>"
    assert [answer.text for answer in written(text, 2)] == ["panic attack"]
    assert written(text[:-1], 2) == ()


@pytest.mark.parametrize(
    "text", ["", "<think>", "<think><answer1>a</answer1><confidence1>0.5</confidence1>", "hello\n\n"]
)
def test_nothing_is_told_of_reasoning_and_of_other_texts(text: str) -> None:
    assert written(text, 2) == ()
