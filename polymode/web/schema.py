"""Requests and replies of the API: answer sets, and the OpenAI-compatible form of them (layer L6).

Requests are strict: no unknown fields, no values of another type. A chat completion has the answer set as JSON for its
content; its question is one user message. Fields of OpenAI's API that would change the sampling in ways that no policy
was calibrated for are refused unless they have no effect. ``temperature``, ``max_tokens`` and ``seed`` are respected;
with values other than the server's no guarantee is claimed. Streaming sends a single chunk: nothing can be decided
before the whole set is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from polymode.policy.policy import MAX_NAME
from polymode.prompts import MAX_K
from polymode.web.keys import Caller
from polymode.web.problems import Problem, dumped

MAX_QUESTION_CHARS = 16_000
"""Longest question."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Accepts 2.0 as a whole number, as JSON does. It comes after the limits, so that these are in the schema."""
Answers = Annotated[int, Field(ge=1, le=MAX_K), WHOLE]
"""Answers that may be asked for."""
QuestionText = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARS, pattern=r"\S")]
"""A text that is not blank."""
Risk = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
"""Class of risk: one of the policy's, else normal or high."""
Meta = Annotated[dict[str, str], Field(max_length=20)]
"""Fields by which a policy may tell questions apart, with texts; a number or boolean as JSON writes it."""


Seed = Annotated[int, Field(ge=0, lt=2**31), WHOLE]


class Strict(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerSetRequest(Strict):
    """A question for ranked answers and a decision."""

    question: QuestionText = Field(
        description=f"the question, a text of 1 to {MAX_QUESTION_CHARS:,} characters, not blank",
        examples=["A 31 year old man has headache, tremor, dizziness; no back pain"],
    )
    k: Answers | None = Field(
        None,
        description=f"answers to ask for, a whole number from 1 to {MAX_K}; a policy made for one K allows no other",
    )
    risk: Risk = Field(
        "normal",
        description="risk of the question: a class of the policy, without classes normal or high; with high no single "
        "answer is given",
    )
    meta: Meta = Field(
        {}, description="an object with the field by which the policy tells questions apart, if it does so by another"
    )
    seed: Seed | None = Field(
        None, description="another seed gives other answers; by default the same question gets the same answers"
    )


class AnswerItem(BaseModel):
    """One answer."""

    text: str
    confidence: float = Field(
        description="a probability, in the words of confidence_meaning, after the policy's map", ge=0, le=1
    )
    rationale: str | None = Field(
        description="findings in the model's reasoning that support it; null where none can be parsed"
    )


class Usage(BaseModel):
    """Tokens of the prompt, and of all completions; null where the back-end does not count."""

    prompt_tokens: int | None
    completion_tokens: int | None


class AnswerSetReply(BaseModel):
    """What may be shown, what was considered, and why."""

    decision: Literal["answer", "offer_set", "abstain", "escalate"]
    reason: str = Field(description="why, in one sentence, with threshold and value")
    answers: list[AnswerItem] = Field(
        description="what may be shown: one for answer, several for offer_set, none for abstain and escalate"
    )
    candidates: list[AnswerItem] = Field(
        description="all distinct answers, the most confident first, also where none may be shown, for keys with the "
        "scope review; for others the same as answers. Empty when the completion cannot be used"
    )
    confidence_meaning: str = Field(
        description="what the confidences are probabilities of, for example: the probability that the answer is the "
        "cause; with a pool the average over its completions, 0 where a completion lacks the answer"
    )
    guarantee: str | None = Field(
        description="what the policy guarantees about decisions of this kind; null when it guarantees nothing here"
    )
    no_guarantee: str | None = Field(
        description="why there is no guarantee; null when there is one, when nothing is shown, and when the "
        "policy guarantees nothing at all"
    )
    escalation_id: int | str | None = Field(
        description="of the question in the review queue; null when it was not escalated or the server has no queue"
    )
    k: int = Field(description="answers asked for")
    pool: int = Field(description="completions that the answers were pooled from")
    risk: str
    completion_status: Literal["clean", "partial", "malformed", "truncated"] = Field(
        description="whether the model followed the answer format"
    )
    model_id: str
    policy_id: str = Field(description="hash of the policy's rules")
    usage: Usage
    request_id: str

    def visible_to(self, caller: Caller) -> AnswerSetReply:
        """What this caller may see: what the policy withholds is for those who review."""
        return self if "review" in caller.scopes else self.model_copy(update={"candidates": self.answers})


def _off(value: bool) -> bool:
    if value:
        raise ValueError("log-probabilities are not available")
    return value


Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
"""False; a Literal would also accept 0."""
TokenLimit = Annotated[int, Field(ge=1), WHOLE]


class TextPart(Strict):
    """One part of a message."""

    type: Literal["text"]
    text: QuestionText


class ChatMessage(Strict):
    """The question."""

    role: Literal["user"]
    content: QuestionText | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None


class StreamOptions(Strict):
    """What a stream contains besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Strict):
    """A chat completion. ``k`` and ``risk`` are fields of this server, sent by clients as extra fields."""

    model: str = Field(description="name of the model, as /v1/models lists it")
    messages: list[ChatMessage] = Field(
        description="one message with role user, the question, not blank: a policy decides single questions, "
        "without system messages or earlier turns",
        min_length=1,
        max_length=1,
    )
    k: Answers | None = Field(None, description=f"answers to ask for, a whole number from 1 to {MAX_K}")
    risk: Risk = Field("normal", description="risk of the question: a class of the policy, else normal or high")
    meta: Meta = Field({}, description="an object with the field by which the policy tells questions apart")
    temperature: float | None = Field(None, description="sampling temperature, a number from 0 to 2", ge=0, le=2)
    max_tokens: TokenLimit | None = Field(None, description="longest completion in tokens, a whole number from 1")
    max_completion_tokens: TokenLimit | None = Field(None, description="as max_tokens, a whole number from 1")
    seed: Seed | None = Field(None, description="another seed gives other answers, a whole number from 0")
    stream: bool | None = Field(None, description="true to get the reply as server-sent events, in a single chunk")
    stream_options: StreamOptions | None = Field(None, description="include_usage: true or false")
    response_format: dict[str, Any] | None = Field(
        None, description="no effect: the content is always the answer set as JSON"
    )
    user: str | None = Field(None, description="no effect")
    metadata: dict[str, Any] | None = Field(None, description="no effect")
    store: bool | None = Field(None, description="no effect: nothing is stored")
    # The fields below may only have the value that the server uses anyway.
    n: Annotated[int, Field(ge=1, le=1), WHOLE] | None = Field(None, description="1")
    top_p: float | None = Field(None, description="1", ge=1, le=1)
    presence_penalty: float | None = Field(None, description="0", ge=0, le=0)
    frequency_penalty: float | None = Field(None, description="0", ge=0, le=0)
    logprobs: Off | None = Field(None, description="false")
    top_logprobs: Annotated[int, Field(ge=0, le=0), WHOLE] | None = Field(None, description="0")
    logit_bias: dict[str, float] | None = Field(None, description="nothing", max_length=0)
    stop: list[str] | None = Field(None, description="nothing", max_length=0)
    tools: list[Any] | None = Field(None, description="nothing", max_length=0)
    functions: list[Any] | None = Field(None, description="nothing", max_length=0)

    def answer_request(self, model_id: str) -> AnswerSetRequest:
        """The question in it.

        Raises:
            Problem: another model (404), or parts that are too long together (422).
        """
        if self.model != model_id:
            title, fix = "the model is not served here", "GET /v1/models names it"
            raise Problem(404, title, field="model", value=self.model, allowed=model_id, fix=fix)
        [message] = self.messages
        content = message.content
        question = content if isinstance(content, str) else "\n".join(part.text for part in content)
        if len(question) > MAX_QUESTION_CHARS:
            title, field = "the question is too long", "messages.0.content"
            allowed = f"{MAX_QUESTION_CHARS:,} characters in all parts together"
            raise Problem(422, title, field=field, value=question, allowed=allowed, fix="shorten it")
        return AnswerSetRequest(question=question, k=self.k, risk=self.risk, meta=self.meta, seed=self.seed)

    def sampling(self) -> dict[str, Any]:
        """How it wants the completion sampled, as `AnswerService.answer` takes it."""
        limits = [limit for limit in (self.max_completion_tokens, self.max_tokens) if limit is not None]
        return {"temperature": self.temperature, "max_tokens": min(limits, default=None)}


def chat_completion(reply: AnswerSetReply) -> dict[str, Any]:
    """A reply as a chat completion."""
    message = {"role": "assistant", "content": dumped(reply.model_dump()), "refusal": None}
    return {**_part(reply, "chat.completion", "stop", message=message), "usage": _usage(reply)}


def chat_events(reply: AnswerSetReply, *, with_usage: bool) -> Iterator[str]:
    """A reply as server-sent events: the whole content, the end, with ``with_usage`` the tokens, and the end mark."""
    usage = {"usage": None} if with_usage else {}
    content = {"role": "assistant", "content": dumped(reply.model_dump())}
    start = _part(reply, "chat.completion.chunk", None, delta=content)
    end = _part(reply, "chat.completion.chunk", "stop", delta={})
    events = [{**start, **usage}, {**end, **usage}]
    if with_usage:
        events.append({**start, "choices": [], "usage": _usage(reply)})
    yield from (f"data: {dumped(event)}\n\n" for event in events)
    yield "data: [DONE]\n\n"


def _part(reply: AnswerSetReply, kind: str, finish_reason: str | None, **content: Any) -> dict[str, Any]:
    """A completion or a chunk of one, with its one choice."""
    return {
        "id": f"chatcmpl-{reply.request_id}",
        "object": kind,
        "created": int(time.time()),
        "model": reply.model_id,
        "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}],
    }


def model_list(model_id: str, created: int) -> dict[str, Any]:
    """The one model that is served."""
    model = {"id": model_id, "object": "model", "created": created, "owned_by": "polymode"}
    return {"object": "list", "data": [model]}


def _usage(reply: AnswerSetReply) -> dict[str, int] | None:
    """Tokens of the request; None when the back-end does not count both kinds."""
    prompt, completion = reply.usage.prompt_tokens, reply.usage.completion_tokens
    if prompt is None or completion is None:
        return None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
