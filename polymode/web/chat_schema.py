"""Requests of the OpenAI-compatible form (layer L6): which fields are taken, and the question in a conversation.

Fields of OpenAI's API that would change the sampling in ways that no policy was calibrated for are refused unless they
have no effect. ``temperature``, ``max_tokens`` and ``seed`` are respected; with values other than the server's no
guarantee is claimed.

A policy decides single questions. A conversation becomes one: the texts of its system messages, then its earlier turns
under who said them, then the last user message. No guarantee is claimed for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from polymode.prompts import MAX_K
from polymode.web.problems import Problem
from polymode.web.schema import (
    MAX_QUESTION_CHARS,
    WHOLE,
    Answers,
    AnswerSetReply,
    AnswerSetRequest,
    Meta,
    Risk,
    Seed,
    Strict,
)

CONVERSATION = "the question comes with a system message or earlier turns, and those of the calibration had none"
"""Why no guarantee is claimed."""
EARLIER = "Earlier in this conversation:"
MAX_MESSAGES = 200
_SPEAKERS = {"user": "User", "assistant": "Assistant"}
_DEPTH = 12
"""Levels of a schema that are compared."""


def _off(value: bool) -> bool:
    if value:
        raise ValueError("log-probabilities are not available")
    return value


Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
"""False; a Literal would also accept 0."""
Empty = Annotated[str, Field(max_length=0)]
TokenLimit = Annotated[int, Field(ge=1), WHOLE]
Text = Annotated[str, Field(max_length=MAX_QUESTION_CHARS)]


class TextPart(Strict):
    """One part of a message."""

    type: Literal["text"]
    text: Text


class ChatMessage(Strict):
    """One message, as clients send it and as they repeat what was replied to them."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None
    refusal: str | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None

    @property
    def text(self) -> str:
        """Its text, of all parts; of an answer set of this server the answers in it."""
        parts = [self.content] if isinstance(self.content, str) else [part.text for part in self.content]
        text = "\n".join(part for part in parts if part.strip())
        return _answers_in(text) if self.role == "assistant" else text


class StreamOptions(Strict):
    """What a stream contains besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JSONSchema(Strict):
    """A schema, as OpenAI's API takes it."""

    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    """What the content is."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None


def _without_tools(body: Any) -> Any:
    """Tools are nothing where none may be called."""
    if not isinstance(body, Mapping):
        return body
    unused = {
        tools
        for choice, tools in (("tool_choice", "tools"), ("function_call", "functions"))
        if body.get(choice) == "none"
    }
    return {name: value for name, value in body.items() if name not in unused}


class ChatRequest(Strict):
    """A chat completion. ``k``, ``risk`` and ``meta`` are fields of this server, sent by clients as extra fields."""

    model: str = Field(description="name of the model, as /v1/models lists it")
    messages: list[ChatMessage] = Field(
        description="the last one with role user, not blank: the question. System messages (system, developer) and "
        "earlier turns (user, assistant) become part of its text, and no guarantee is claimed then",
        min_length=1,
        max_length=MAX_MESSAGES,
    )
    k: Answers | None = Field(None, description=f"answers to ask for, a whole number from 1 to {MAX_K}")
    risk: Risk = Field("normal", description="risk of the question: a class of the policy, else normal or high")
    meta: Meta = Field({}, description="an object with the field by which the policy tells questions apart")
    temperature: float | None = Field(None, description="sampling temperature, a number from 0 to 2", ge=0, le=2)
    max_tokens: TokenLimit | None = Field(None, description="longest completion in tokens, a whole number from 1")
    max_completion_tokens: TokenLimit | None = Field(None, description="as max_tokens, a whole number from 1")
    seed: Seed | None = Field(None, description="another seed gives other answers, a whole number from 0")
    stream: bool | None = Field(
        None,
        description="true to get the reply as server-sent events, for keys "
        "with the scope review each answer as soon as it is written",
    )
    stream_options: StreamOptions | None = Field(None, description="include_usage: true or false")
    response_format: ResponseFormat | None = Field(
        None,
        description="no effect: the content is always the answer set as JSON. A json_schema must be that of "
        "AnswerSetReply",
    )
    # Fields without effect here.
    user: str | None = Field(None, description="no effect")
    safety_identifier: str | None = Field(None, description="no effect")
    prompt_cache_key: str | None = Field(None, description="no effect")
    prompt_cache_retention: str | None = Field(None, description="no effect")
    service_tier: str | None = Field(None, description="no effect")
    metadata: dict[str, Any] | None = Field(None, description="no effect")
    store: bool | None = Field(None, description="no effect: the server's own settings say what is stored")
    parallel_tool_calls: bool | None = Field(None, description="no effect: there are no tools")
    tool_choice: Literal["none", "auto"] | None = Field(None, description="none or auto: there are no tools")
    function_call: Literal["none", "auto"] | None = Field(None, description="none or auto: there are no functions")
    # The fields below may only have the value that the server uses anyway.
    modalities: Annotated[list[Literal["text"]], Field(min_length=1)] | None = Field(None, description="text")
    n: Annotated[int, Field(ge=1, le=1), WHOLE] | None = Field(None, description="1")
    top_p: float | None = Field(None, description="1", ge=1, le=1)
    presence_penalty: float | None = Field(None, description="0", ge=0, le=0)
    frequency_penalty: float | None = Field(None, description="0", ge=0, le=0)
    logprobs: Off | None = Field(None, description="false")
    top_logprobs: Annotated[int, Field(ge=0, le=0), WHOLE] | None = Field(None, description="0")
    logit_bias: dict[str, float] | None = Field(None, description="nothing", max_length=0)
    stop: Empty | Annotated[list[str], Field(max_length=0)] | None = Field(None, description="nothing")
    tools: list[Any] | None = Field(None, description="nothing, unless tool_choice is none", max_length=0)
    functions: list[Any] | None = Field(None, description="nothing, unless function_call is none", max_length=0)
    audio: None = Field(None, description="nothing")
    prediction: None = Field(None, description="nothing")
    reasoning_effort: None = Field(None, description="nothing: the policy belongs to the model as it is served")
    verbosity: Literal["medium"] | None = Field(None, description="medium")
    web_search_options: None = Field(None, description="nothing")

    _unused = model_validator(mode="before")(_without_tools)

    def answer_request(self, model_id: str) -> AnswerSetRequest:
        """The question in it.

        Raises:
            Problem: another model (404); no question, texts that are too long together, or a foreign schema (422).
        """
        if self.model != model_id:
            raise unknown_model(self.model, model_id)
        _check_format(self.response_format)
        question = question_of(self.messages)
        if len(question) > MAX_QUESTION_CHARS:
            title, field = "the question is too long", "messages"
            if not self.is_conversation:
                field = "messages.0.content"
            allowed = f"{MAX_QUESTION_CHARS:,} characters in all messages together"
            raise Problem(422, title, field=field, value=question, allowed=allowed, fix="shorten it")
        return AnswerSetRequest(question=question, k=self.k, risk=self.risk, meta=self.meta, seed=self.seed)

    @property
    def is_conversation(self) -> bool:
        """Whether there is more than the question."""
        return len(self.messages) > 1

    @property
    def wants_schema(self) -> bool:
        """Whether the content must be an answer set and nothing else."""
        return self.response_format is not None and self.response_format.type == "json_schema"

    def sampling(self) -> dict[str, Any]:
        """How it wants the completion sampled, as `AnswerService.answer` takes it."""
        limits = [limit for limit in (self.max_completion_tokens, self.max_tokens) if limit is not None]
        return {"temperature": self.temperature, "max_tokens": min(limits, default=None)}


def unknown_model(model: str, model_id: str) -> Problem:
    """The refusal of a model other than the one that is served."""
    title, fix = "the model is not served here", "GET /v1/models names it"
    return Problem(404, title, field="model", value=model, allowed=model_id, fix=fix, code="model_not_found")


def question_of(messages: Sequence[ChatMessage]) -> str:
    """One question of a conversation: system texts, earlier turns, the last user message, with blank lines between.

    Raises:
        Problem: the last message is not a user's, or is blank.
    """
    *before, last = messages
    place = len(before)
    if last.role != "user":
        allowed = "one message with role user at the end, the question"
        fix = "add the question as the last message"
        raise Problem(422, "no question", field=f"messages.{place}.role", value=last.role, allowed=allowed, fix=fix)
    if not last.text.strip():
        allowed, fix = "a text that is not blank", "send the question"
        raise Problem(422, "no question", field=f"messages.{place}.content", value="", allowed=allowed, fix=fix)
    if not before:
        return last.text
    texts = [(message.role, message.text.strip()) for message in before if message.text.strip()]
    rules = [text for role, text in texts if role not in _SPEAKERS]
    turns = [f"{_SPEAKERS[role]}: {text}" for role, text in texts if role in _SPEAKERS]
    return "\n\n".join([*rules, *(["\n".join([EARLIER, *turns])] if turns else []), last.text])


def _answers_in(text: str) -> str:
    """What an earlier reply of this server answered; any other text as it is."""
    if not text.startswith("{"):
        return text
    try:
        content = json.loads(text)
        return "; ".join(answer["text"] for answer in content["answers"]) or "no answer"
    except (ValueError, LookupError, TypeError, RecursionError):
        return text


def _check_format(response_format: ResponseFormat | None) -> None:
    """Refuse a schema that answer sets do not have."""
    if response_format is None or response_format.type != "json_schema":
        return
    schema = response_format.json_schema and response_format.json_schema.schema_
    own = AnswerSetReply.model_json_schema()
    if schema is None or _shape(schema, schema) != _shape(own, own):
        raise Problem(
            422,
            "the content cannot have this schema",
            field="response_format.json_schema",
            value=None if response_format.json_schema is None else response_format.json_schema.name,
            allowed="the schema of AnswerSetReply in /openapi.json, or none",
            fix="leave response_format out and read the answer set from the content, or do not use this server for it",
        )


def _shape(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Names and types of a schema, without titles, descriptions and limits; references resolved."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        definitions = root.get("$defs")
        target = definitions.get(reference.rpartition("/")[2]) if isinstance(definitions, Mapping) else None
        return _shape(target, root, depth + 1)
    if isinstance(fields := schema.get("properties"), Mapping):
        return {name: _shape(field, root, depth + 1) for name, field in fields.items()}
    if "items" in schema:
        return [_shape(schema["items"], root, depth + 1)]
    if isinstance(choices := schema.get("anyOf"), Sequence):
        return sorted(repr(_shape(choice, root, depth + 1)) for choice in choices)
    return schema.get("enum") or schema.get("type")
