"""The paths of OpenAI's API (layer L6): chat completions and models."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request

from polymode.web.answer_service import AnswerService
from polymode.web.chat_replies import ChatCompletion, Model, ModelList, chat_completion
from polymode.web.chat_schema import CONVERSATION, ChatRequest, unknown_model
from polymode.web.chat_stream import stream_answer
from polymode.web.description import QUESTION_STATUSES, STREAM, responses
from polymode.web.gate import run_until_disconnect
from polymode.web.keys import Caller
from polymode.web.problems import SafeJSON
from polymode.web.schema import AnswerSetReply
from polymode.web.slots import OnSlot


def chat_paths(answer_service: AnswerService) -> APIRouter:
    """Their routes."""
    router, model_id = APIRouter(tags=["openai"]), answer_service.serving.model_id
    own = Model(id=model_id, created=int(time.time()))
    model_statuses = (401, 403, 408, 413, 421, 500)

    @router.get("/v1/models", operation_id="listModels", responses=responses(*model_statuses, openai=True))
    async def models() -> ModelList:
        """The model that is served, as OpenAI's API lists models."""
        return SafeJSON(ModelList(data=[own]).model_dump())  # type: ignore[return-value]  # the annotation describes its content

    @router.get(
        "/v1/models/{model:path}", operation_id="retrieveModel", responses=responses(*model_statuses, 404, openai=True)
    )
    async def one_model(model: str) -> Model:
        """The model that is served, by its name."""
        if model != model_id:
            raise unknown_model(model, model_id)
        return SafeJSON(own.model_dump())  # type: ignore[return-value]

    @router.post(
        "/v1/chat/completions",
        operation_id="createChatCompletion",
        responses=STREAM | responses(*QUESTION_STATUSES, 404, openai=True),
    )
    async def chat_completions(body: ChatRequest, request: Request) -> ChatCompletion:
        """The answer set as the content of a chat completion, for clients of OpenAI's API."""
        caller: Caller = request.state.caller
        question = body.answer_request(model_id)

        def answering(on_slot: OnSlot | None = None) -> Coroutine[Any, Any, tuple[AnswerSetReply, list[str]]]:
            return answer_service.answer(
                question,
                request.state.request_id,
                caller=caller,
                unlike=CONVERSATION if body.is_conversation else None,
                on_slot=on_slot,
                **body.sampling(),
            )

        if body.stream:
            return await stream_answer(  # type: ignore[return-value]
                request,
                answering,
                model_id=model_id,
                caller=caller,
                has_slots=not body.wants_schema,
                with_usage=bool(body.stream_options and body.stream_options.include_usage),
            )
        reply, _ = await run_until_disconnect(request, answering())
        return SafeJSON(chat_completion(reply.visible_to(caller)))  # type: ignore[return-value]

    return router
