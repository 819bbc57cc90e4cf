"""Replies of the OpenAI-compatible form (layer L6): chat completions, chunks of a stream, and the list of models.

The content of a completion is the answer set as JSON.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from polymode.web.problems import dumped
from polymode.web.schema import AnswerSetReply


class Model(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="when the server started, in seconds since 1970")
    owned_by: str = "polymode"


class ModelList(BaseModel):
    """All models that are served: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class ChatUsage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str = Field(description="an AnswerSetReply as JSON")
    refusal: None = None


class Choice(BaseModel):
    """The one choice of a completion."""

    index: Literal[0] = 0
    message: ReplyMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class _Part(BaseModel):
    id: str
    created: int = Field(description="seconds since 1970")
    model: str
    usage: ChatUsage | None = Field(None, description="null where the back-end does not count tokens")


class ChatCompletion(_Part):
    """An answer set as a chat completion."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[Choice]


class Delta(BaseModel):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """The one choice of a chunk."""

    index: Literal[0] = 0
    delta: Delta
    logprobs: None = None
    finish_reason: Literal["stop"] | None = None


class ChatChunk(_Part):
    """One event of a stream; the contents of all of them, put together, are that of the completion."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]


def chat_completion(reply: AnswerSetReply) -> dict[str, Any]:
    """A reply as a chat completion."""
    message = ReplyMessage(content=dumped(reply.model_dump()))
    return ChatCompletion(
        id=completion_id(reply.request_id),
        created=int(time.time()),
        model=reply.model_id,
        choices=[Choice(message=message)],
        usage=usage_of(reply),
    ).model_dump()


def completion_id(request_id: str) -> str:
    """Name of a completion and of every chunk of it."""
    return f"chatcmpl-{request_id}"


def usage_of(reply: AnswerSetReply) -> ChatUsage | None:
    """Tokens of the request; None when the back-end does not count both kinds."""
    prompt, completion = reply.usage.prompt_tokens, reply.usage.completion_tokens
    if prompt is None or completion is None:
        return None
    return ChatUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
