"""A chat completion as server-sent events, while the model works (layer L6).

Callers who may see what a policy withholds get each slot when the model has written it: the content begins with
``{"slots":[...``, and the answer set follows in the same object once it is decided. For others nothing may be shown
before the decision, which needs the whole set; a comment every few seconds keeps their connection open.

The status is sent with the first event, so that a question that cannot be asked has its own status. What fails later is
an event with ``error``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from polymode.web.chat_replies import ChatChunk, ChunkChoice, Delta, completion_id, usage_of
from polymode.web.gate import run_until_disconnect
from polymode.web.keys import Caller
from polymode.web.problems import dumped, error_of, problem_of_exception
from polymode.web.schema import AnswerSetReply
from polymode.web.slots import OnSlot, Slot

COMMENT_SECONDS = 5.0
"""Longest silence."""
COMMENT = ": the model works\n\n"
Answering = Callable[[OnSlot | None], Coroutine[Any, Any, tuple[AnswerSetReply, list[str]]]]


async def stream_answer(
    request: Request, answering: Answering, *, model_id: str, caller: Caller, has_slots: bool, with_usage: bool
) -> StreamingResponse:
    """The reply to a request, from its first event on.

    Args:
        request: the client's.
        answering: answers the question, telling slots to the function that it gets.
        model_id: name of the model.
        caller: who asks.
        has_slots: whether the content has the slots, where the caller may see them.
        with_usage: whether the last chunk has the tokens.

    Raises:
        Problem: the question cannot be answered, or the client left, before anything was sent.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Slot | None] = asyncio.Queue()
    has_slots = has_slots and "review" in caller.scopes
    tell = (lambda slot: loop.call_soon_threadsafe(events.put_nowait, slot)) if has_slots else None
    work = asyncio.ensure_future(answering(tell))
    work.add_done_callback(lambda _: events.put_nowait(None))
    head = {"id": completion_id(request.state.request_id), "created": int(time.time()), "model": model_id}

    async def end_work() -> None:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def next_event() -> Slot | str | None:
        """A slot, the end as None, or a comment."""
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                return await events.get()
        except TimeoutError:
            return COMMENT

    def chunk(finish_reason: Any = None, **delta: Any) -> str:
        content = ChatChunk(
            **head, choices=[ChunkChoice(delta=Delta(**delta), finish_reason=finish_reason)]
        ).model_dump()
        content["choices"][0]["delta"] = delta  # what a chunk does not add is left out
        return _event(content)

    async def stream(event: Slot | str | None) -> AsyncIterator[str]:
        try:
            yield chunk(role="assistant", content='{"slots":[' if has_slots else "")
            separator = ""
            while event is not None:
                if isinstance(event, Slot):
                    yield chunk(content=separator + dumped(event.model_dump()))
                    separator = ","
                else:
                    yield event
                event = await next_event()
            try:
                reply, _ = work.result()
            except Exception as exc:
                yield _event(error_of(problem_of_exception(exc), request.state.request_id))
                return
            content = dumped(reply.visible_to(caller).model_dump())
            yield chunk(content="]," + content[1:] if has_slots else content)
            yield chunk(finish_reason="stop")
            if with_usage:
                yield _event(ChatChunk(**head, choices=[], usage=usage_of(reply)).model_dump())
            yield "data: [DONE]\n\n"
        finally:
            await end_work()

    try:
        first = await run_until_disconnect(request, next_event())
        if first is None:
            work.result()
    except BaseException:
        await end_work()
        raise
    return StreamingResponse(stream(first), media_type="text/event-stream")


def _event(content: dict[str, Any]) -> str:
    return f"data: {dumped(content)}\n\n"
