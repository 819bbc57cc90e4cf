"""Typed choice questions by the public contract of TypeSafe's System One API, POST /v1/systemone (layer L6).

A request has a state and named questions of the type ``choice``, whose criteria are the options; the reply has for each
the most probable option, the probabilities of all, which add up to 1, and a confidence. The contract is read from
https://docs.litellm.ai/docs/decisions/systemone_format and https://docs.databricks.com (query-systemone-models); its
types ``noul`` and ``score`` are choices between other options, and are refused.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from polymode.policy.deciding import Same, equality
from polymode.web.answer_service import AnswerService
from polymode.web.description import QUESTION_STATUSES, responses
from polymode.web.gate import run_until_disconnect
from polymode.web.keys import Caller
from polymode.web.problems import Problem, SafeJSON
from polymode.web.schema import MAX_QUESTION_CHARS, AnswerSetReply, AnswerSetRequest, Meta, QuestionText, Risk, Strict

PATH = "/v1/systemone"
UNLIKE = "the options were given with the question, those of the calibration were not"
MAX_QUESTIONS = 16
"""Questions of a request: each takes a place of the queue."""
MAX_OPTIONS = 255
Content = str | dict[str, Any] | list[Any]
"""A text, or JSON that is read as one."""


class ChoiceQuestion(Strict):
    """Which of these options it is."""

    type: Literal["choice"] = Field(description="choice; other types are not served")
    instructions: Content = Field("", description="what is asked: a text, or JSON")
    criteria: Annotated[dict[QuestionText, Content | None], Field(min_length=1, max_length=MAX_OPTIONS)] = Field(
        description=f"1 to {MAX_OPTIONS} options that differ, each with a description or null"
    )


class TypedRequest(Strict):
    """A state, and questions about it."""

    state: Content = Field(description="what the questions are about: a text, or JSON")
    questions: Annotated[dict[str, ChoiceQuestion], Field(min_length=1, max_length=MAX_QUESTIONS)] = Field(
        description=f"1 to {MAX_QUESTIONS} questions of the type choice, by any names"
    )
    model: str | None = Field(None, description="any name: the model that is served answers, and the reply names it")
    risk: Risk = Field("normal", description="risk of the questions: a class of the policy, else normal or high")
    meta: Meta = Field({}, description="an object with the field by which the policy tells questions apart")


class ChoiceAnswer(BaseModel):
    """The options' probabilities."""

    type: Literal["choice"] = "choice"
    choice: str = Field(description="the most probable option, of equal ones the first")
    probabilities: dict[str, float] = Field(description="of each option; they add up to 1")
    confidence: float = Field(
        description="how concentrated they are: (n p - 1) / (n - 1) for the largest p of n options; 0 where all are "
        "equal, as where the model names no option or the policy withholds its answers; not the probability that the "
        "choice is right",
        ge=0,
        le=1,
    )


class TypedUsage(BaseModel):
    """Tokens of all prompts and completions; null where the back-end does not count."""

    input_tokens: int | None
    output_tokens: int | None


class TypedReply(BaseModel):
    """An answer to each question, by its name."""

    model: str = Field(description="the model that is served")
    answers: dict[str, ChoiceAnswer]
    usage: TypedUsage


def typed_paths(answer_service: AnswerService) -> APIRouter:
    """The route."""
    router, serving = APIRouter(tags=["answers"]), answer_service.serving
    same = equality(serving.policy.equality)

    @router.post(PATH, operation_id="createDecisions", responses=responses(*QUESTION_STATUSES))
    async def decisions(body: TypedRequest, request: Request) -> TypedReply:
        """Typed choice questions about a state, with a probability for each option."""
        caller: Caller = request.state.caller
        texts = {name: _text(body.state, name, question) for name, question in body.questions.items()}

        async def ask(number: int, name: str) -> AnswerSetReply:
            n = len(body.questions[name].criteria)
            k = serving.policy.k or min(serving.k, n)
            own = AnswerSetRequest(question=texts[name], k=k, risk=body.risk, meta=body.meta, seed=None)
            id_ = f"{request.state.request_id}-{number}"  # items of the review queue have different names
            reply, _ = await answer_service.answer(own, id_, caller=caller, unlike=UNLIKE)
            return reply.visible_to(caller)

        replies = await run_until_disconnect(request, _all_of([ask(i, name) for i, name in enumerate(texts, 1)]))
        answers = {
            name: choose(list(question.criteria), [(one.text, one.confidence) for one in reply.candidates], same)
            for (name, question), reply in zip(body.questions.items(), replies, strict=True)
        }
        usage = TypedUsage(
            input_tokens=_sum([one.usage.prompt_tokens for one in replies]),
            output_tokens=_sum([one.usage.completion_tokens for one in replies]),
        )
        own = TypedReply(model=serving.model_id, answers=answers, usage=usage)
        return SafeJSON(own.model_dump())  # type: ignore[return-value]  # the annotation describes its content

    return router


def choose(options: list[str], candidates: list[tuple[str, float]], same: Same) -> ChoiceAnswer:
    """The probabilities of n options, of which exactly one is right, from the confidences of answers.

        p_i = q_i / max(1, Σ q)                  for an option that the model names
        p_i = max(0, 1 - Σ q) / (n - n_named)    for any other

    Where all are named they are divided by Σ q; where nothing has a confidence, all are equal. Answers that are no
    option add nothing; of options that are equal answers the one with the very text counts, else the first.
    """
    by_option: dict[str, float] = {}
    for text, q in candidates:
        option = text if text in options else next((own for own in options if same(text, own)), None)
        if option is not None:
            by_option.setdefault(option, q)
    stated = [by_option.get(option) for option in options]
    named = [*by_option.values()]
    total, n_others = sum(named), len(options) - len(named)
    if n_others:
        rest = max(0.0, 1.0 - total) / n_others
        weights = [rest if q is None else q / max(1.0, total) for q in stated]
    else:
        weights = [by_option[option] / total if total > 0 else 1.0 / len(options) for option in options]
    probabilities = {option: round(p, 6) for option, p in zip(options, weights, strict=True)}
    peak, n = max(weights), len(options)
    confidence = 1.0 if n == 1 else min(1.0, max(0.0, (n * peak - 1) / (n - 1)))
    return ChoiceAnswer(
        choice=options[weights.index(peak)], probabilities=probabilities, confidence=round(confidence, 6)
    )


async def _all_of(works: list[Any]) -> list[AnswerSetReply]:
    """The results; the first refusal ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _text(state: Content, name: str, question: ChoiceQuestion) -> str:
    """The question as it is asked; raises Problem where it is too long."""
    lines = [f"- {option}" + (f": {_plain(about)}" if about else "") for option, about in question.criteria.items()]
    parts = [_plain(state), _plain(question.instructions), "\n".join(["Answer with these options only:", *lines])]
    text = "\n\n".join(part for part in parts if part.strip())
    if len(text) > MAX_QUESTION_CHARS:
        raise Problem(
            422,
            "a question is too long",
            field=f"questions.{name}",
            value=len(text),
            allowed=f"at most {MAX_QUESTION_CHARS:,} characters with the state and all options",
            fix="shorten the state, or ask for fewer options",
        )
    return text


def _plain(content: Content) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _sum(counts: list[int | None]) -> int | None:
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)
